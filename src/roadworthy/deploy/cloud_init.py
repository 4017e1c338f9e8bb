"""cloud-init user data: a new host that makes itself serve a release.

It is made of the very steps that SSH carries out. The user data holds one address and one digest;
what is fetched is verified by that digest before anything of it is read, so the user data stays
small and holds no secret. Running it again does nothing.
"""

from __future__ import annotations

import io
import shlex
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from roadworthy.deploy.host.layout import Layout
from roadworthy.deploy.host.steps import HostStep
from roadworthy.deploy.wanted import Content, in_file
from roadworthy.errors import InputError

LIMIT = 16_384
"""Bytes of user data that every cloud takes (EC2 takes the least)."""
_RUN = "run.sh"
_FETCH = """\
python3 - "$1" "$2" <<'END'
import shutil, sys, urllib.request
with urllib.request.urlopen(sys.argv[1], timeout=60) as source, open(sys.argv[2], "wb") as sink:
    shutil.copyfileobj(source, sink)
END
"""


def archive(steps: Sequence[HostStep], folder: Path) -> Path:
    """Write steps and all that they read as one archive; the same steps give the same bytes.

    Args:
        steps: In order.
        folder: Where to write it.

    Returns:
        `FOLDER/release-DIGEST.tar`.
    """
    contents = {step.content.sha256: step.content for step in steps if step.content is not None}
    with (
        tempfile.NamedTemporaryFile(dir=folder, prefix=".draft-", delete=False) as draft,
        tarfile.open(fileobj=draft, mode="w", format=tarfile.USTAR_FORMAT) as target,
    ):
        _add(target, _RUN, _run_script(steps).encode())
        for digest, content in sorted(contents.items()):
            _add(target, f"content/{digest}", b"".join(content.parts()))
    place = folder / f"release-{in_file(Path(draft.name)).sha256[:16]}.tar"
    Path(draft.name).replace(place)
    place.chmod(0o644)
    return place


def user_data(layout: Layout, release: Content, address: str, fetch: str = _FETCH) -> bytes:
    """The user data.

    Args:
        layout: The deployment's places.
        release: The archive.
        address: Where a new host fetches it.
        fetch: Shell commands that put what `$1` names into the file `$2`, with whatever identity
            the host has; else plain HTTPS.

    Raises:
        InputError: It would be larger than clouds take.
    """
    script = bootstrap(layout, release, address, fetch)
    place = f"/usr/local/sbin/roadworthy-bootstrap-{layout.name}"
    file = {"path": place, "permissions": "0700", "owner": "root:root", "content": script}
    document = {"write_files": [file], "runcmd": [[place]]}
    # JSON is YAML
    text = b"#cloud-config\n" + msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
    if len(text) > LIMIT:
        raise InputError(
            f"the user data has {len(text):,} bytes, and clouds take {LIMIT:,}",
            fix="use a shorter address",
        )
    return text


def bootstrap(layout: Layout, release: Content, address: str, fetch: str = _FETCH) -> str:
    """The script that makes a new host serve; where it was run to its end, it does nothing.

    Args:
        layout: The deployment's places.
        release: The archive.
        address: Where a new host fetches it.
        fetch: Shell commands that put what `$1` names into the file `$2`.
    """
    return f"""\
#!/bin/sh
# Roadworthy: deployment {layout.name}
set -eu
done={layout.root}/bootstrapped
[ "$(cat $done 2>/dev/null)" = {release.sha256} ] && exit 0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fetch() {{
{fetch}}}
tries=0
until fetch {shlex.quote(address)} "$work/release.tar"; do
  tries=$((tries + 1)); [ "$tries" -lt 30 ] || exit 69; sleep 5
done
echo "{release.sha256}  $work/release.tar" | sha256sum -c --quiet -
tar -C "$work" --no-same-owner -xf "$work/release.tar"
cd "$work"
sh ./{_RUN}
echo {release.sha256} > $done.new
mv -f $done.new $done
"""


def _run_script(steps: Sequence[HostStep]) -> str:
    lines = ["set -eu"]
    for step in steps:
        program = f"sh -c {shlex.quote(step.program)}"
        if step.content is None:
            program = f"{program} </dev/null"
        else:
            digest = step.content.sha256
            program = f"{{ echo {digest}; cat content/{digest}; }} | {program}"
        lines += [f"found=$({step.question.strip()})", f'if [ -z "$found" ]; then {program}; fi']
    return "\n".join(lines) + "\n"


def _add(target: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), 0o600
    target.addfile(entry, io.BytesIO(data))

"""A step on a host: a script for a POSIX shell as root, and how to see that it was done.

What a step did is stamped on the host itself with a digest of the script and its content, written
last: a step that was cut off has no stamp, whichever machine looks. The content comes on standard
input, its SHA-256 in the first line, so that nothing of it is in a process list.
"""

from __future__ import annotations

import hashlib
import shlex
from typing import Any

import msgspec

from roadworthy.deploy.wanted import Content

PUT = """\
put() { # PATH MODE OWNER: standard input becomes a file, whole or not at all
  read -r want
  mkdir -p "$(dirname "$1")"
  draft=$1.new
  trap 'rm -f "$draft"' EXIT
  ( umask 077; cat > "$draft" )
  [ "$(sha256sum < "$draft" | cut -d' ' -f1)" = "$want" ] || { echo "cut off: $1" >&2; exit 75; }
  chown "$3" "$draft"
  chmod "$2" "$draft"
  sync "$draft"
  mv -f "$draft" "$1"
}
"""


class HostStep(msgspec.Struct, frozen=True, kw_only=True):
    """A step on a host.

    Attributes:
        id: Its name.
        what: What it does.
        script: For `sh`, as root; doing it twice is as doing it once.
        stamp: File that says it was done; empty: there is none, and `present` alone says it.
        content: What the script reads on standard input.
        present: A shell condition that must hold besides the stamp.
        document: What of it people and machines see.
        needs: Steps that come before.
    """

    id: str
    what: str
    script: str
    stamp: str
    content: Content | None = None
    present: str = "true"
    document: dict[str, Any] = {}
    needs: tuple[str, ...] = ()

    @property
    def mark(self) -> str:
        """What the stamp holds."""
        content = self.content.sha256 if self.content is not None else "-"
        return f"{hashlib.sha256(self.script.encode()).hexdigest()[:32]} {content}"

    @property
    def program(self) -> str:
        """The whole script: the work, then the stamp."""
        if not self.stamp:
            return f"set -eu\n{self.script}"
        stamp = shlex.quote(self.stamp)
        put = PUT if self.content is not None else ""
        content = '"$want"' if self.content is not None else "-"
        digest = self.mark.split()[0]
        return (
            f"set -eu\numask 022\n{put}{self.script.strip()}\n"
            f'mkdir -p "$(dirname {stamp})"\n'
            f"printf '%s %s' {digest} {content} > {stamp}.new\nmv -f {stamp}.new {stamp}\n"
        )

    @property
    def question(self) -> str:
        """A script that prints the id and `yes` when the step was done."""
        name = shlex.quote("step " + self.id)
        if not self.stamp:
            return f"if {{ {self.present}; }} >/dev/null 2>&1; then echo {name} yes; fi\n"
        stamp, mark = shlex.quote(self.stamp), shlex.quote(self.mark)
        return (
            f'if [ "$(cat {stamp} 2>/dev/null)" = {mark} ] && {{ {self.present}; }} '
            f">/dev/null 2>&1; then echo {name} yes; fi\n"
        )


def file_step(
    name: str,
    what: str,
    path: str,
    content: Content,
    stamp: str,
    *,
    mode: str = "0644",
    owner: str = "root:root",
    after: str = "",
    secret: bool = False,
    needs: tuple[str, ...] = (),
) -> HostStep:
    """A step that writes a file.

    Args:
        name: The step's id.
        what: What it does.
        path: Where the file is.
        content: What it holds.
        stamp: File that says it was done.
        mode: Its mode.
        owner: Its owner and group.
        after: Shell commands once it is there.
        secret: Whether nothing of the content may be shown.
        needs: Steps that come before.
    """
    place = shlex.quote(path)
    document: dict[str, Any] = {"file": path, "mode": mode, "owner": owner}
    if not secret:
        document |= {"sha256": content.sha256, "size": content.size}
    return HostStep(
        id=name,
        what=what,
        script=f"put {place} {mode} {owner}\n{after}",
        stamp=stamp,
        content=content,
        present=f"[ -f {place} ]",
        document=document,
        needs=needs,
    )

"""`roadworthy models` and `keys` as a user and as a script see them."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import pytest

from roadworthy.bundle import Bundle
from roadworthy.cli import main
from tests.conftest import DATA
from tests.registry.bundles import make_bundle


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with a project of its own; the user's folders are inside it."""
    (tmp_path / "roadworthy.toml").write_text("[registry]\n")
    return tmp_path


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def run(home: Path, *words: object, code: int = 0, **environment: str) -> Done:
    """The command line in this process: hundreds of calls would take minutes otherwise."""
    folders = {"XDG_DATA_HOME": str(home / "data"), "XDG_CACHE_HOME": str(home / "cache")}
    settings = {**folders, "NO_COLOR": "1", "COLUMNS": "160", "ROADWORTHY_ACTOR": "ada"}
    out, err = io.StringIO(), io.StringIO()
    found = 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(home)
        patch.setattr(sys, "argv", ["roadworthy", *map(str, words)])
        patch.setattr(sys, "stdin", io.StringIO())
        for name, value in {**settings, **environment}.items():
            patch.setenv(name, value)
        try:
            main()
        except SystemExit as end:
            found = int(end.code or 0)
    done = Done(found, out.getvalue(), err.getvalue())
    assert done.returncode == code, done
    return done


def document(home: Path, *words: object, **environment: str) -> dict:
    return json.loads(run(home, *words, "--json", **environment).stdout)


def test_a_model_is_registered_promoted_rolled_back_and_accounted_for(home: Path) -> None:
    one, two = make_bundle(home, 1), make_bundle(home, 2)
    assert "nothing is registered" in run(home, "models", "list", code=2).stderr
    first = document(home, "models", "register", one, "--tag", "audited=yes", "--alias", "champion")
    version = first["version"]["version"]
    assert first["new"]
    assert first["version"]["tags"] == {"audited": "yes"}
    second = document(home, "models", "register", two)["version"]["version"]
    done = run(home, "models", "promote", f"grades:{second[:8]}", "--verdict", "passed")
    assert f"grades:{second[:12]} is grades@champion" in done.stdout
    shown = run(home, "models", "list").stdout
    assert "audited=yes" in shown
    assert "champion" in shown
    assert document(home, "models", "rollback", "grades")["to"] == version
    history = document(home, "models", "history", "grades", "--verify")
    assert [each["action"] for each in history["entries"]] == [
        "register", "promote", "register", "promote", "rollback",
    ]  # fmt: skip
    assert {each["who"] for each in history["entries"]} == {"ada"}
    assert history["entries"][3]["verdict"] == "passed"
    head = f"{history['head']['number']}:{history['head']['digest']}"
    assert "nothing was changed" in run(home, "models", "history", "--head", head).stdout
    then = history["entries"][3]["at"]
    at = document(home, "models", "history", "grades", "--at", then)
    assert at["aliases"] == [{"model": "grades", "alias": "champion", "version": second}]
    assert "no alias" in run(home, "models", "history", "--at", "2020-05-01").stdout
    run(home, "models", "tag", "grades@champion", "--remove", "audited")
    run(home, "models", "promote", "grades", "--remove")
    assert "0 versions" in run(home, "models", "gc", "--keep", "1", "--dry-run").stdout
    gone = document(home, "models", "gc", "--keep", "1", "--grace", "0")
    assert gone["collected"]["versions"] == [f"grades:{version[:12]}"]


def test_every_verb_takes_names_and_paths(home: Path) -> None:
    bundle = make_bundle(home)
    version = document(home, "models", "register", bundle)["version"]["version"]
    for name in (bundle, "grades", f"grades:{version[:6]}"):
        assert document(home, "models", "verify", name)["version"] == version
        assert document(home, "models", "show", name)["manifest"]["version"] == version
    (home / "rows.csv").write_text("height,colour\n1.5,red\n-2,blue\n")
    done = document(home, "predict", "rows.csv", "--model", "grades", "-o", "out.csv")
    assert (done["rows"], done["version"]) == (2, version)
    run(home, "serve", "nobody", code=2)


def test_a_bundle_travels_sealed_from_one_registry_to_another(home: Path) -> None:
    bundle = make_bundle(home)
    run(home, "keys", "generate", "ops", "--kind", "x25519")
    run(home, "models", "register", bundle)
    run(home, "models", "export", "grades", "--to", "g.rwb.sealed", code=2)
    run(home, "models", "export", "grades", "--to", "g.rwb.sealed", "--recipient", "ops.pub")
    run(home, "models", "export", "grades", "--to", "g.rwb")
    run(home, "models", "export", "grades", "--to", "folder")
    run(home, "models", "export", "grades", "--to", "folder", code=2)
    assert "no key at hand" in run(home, "models", "verify", "g.rwb.sealed", code=2).stderr
    other = {"ROADWORTHY_IDENTITY": "ops.key", "XDG_DATA_HOME": str(home / "other")}
    found = document(home, "models", "import", "g.rwb.sealed", "--alias", "champion", **other)
    assert found["version"]["version"] == Bundle(bundle).version
    for same in ("g.rwb", "folder"):
        assert not document(home, "models", "import", same, **other)["new"]


def test_keys_are_made_shown_and_never_overwritten(home: Path) -> None:
    made = document(home, "keys", "generate", "release")
    assert (home / "release.key").stat().st_mode & 0o777 == 0o600
    for name in ("release.key", "release.pub"):
        shown = document(home, "keys", "show", name)
        assert (shown["fingerprint"], shown["kind"]) == (made["fingerprint"], "ed25519")
        assert "PRIVATE" not in json.dumps(shown)
    assert "is there already" in run(home, "keys", "generate", "release", code=2).stderr
    run(home, "keys", "generate", "x", "--kind", "rsa", code=2)
    run(home, "keys", "generate", "x", "--encrypt", code=2)
    secret = {"ROADWORTHY_KEY_PASSPHRASE": "correct horse"}
    run(home, "keys", "generate", "locked", "--encrypt", **secret)
    run(home, "keys", "show", "locked.key", code=2)
    run(home, "keys", "show", "locked.key", **secret)
    assert "correct horse" not in (home / "locked.key").read_text()


def test_with_trusted_keys_every_verb_refuses_what_is_not_signed(home: Path) -> None:
    bundle, other = make_bundle(home), make_bundle(home, 2)
    run(home, "keys", "generate", "release", "--kind", "ecdsa-p256")
    (home / "roadworthy.toml").write_text("[registry]\ntrusted_keys = ['release.pub']\n")
    (home / "rows.csv").write_text("height,colour\n1.5,red\n")
    verbs = [
        ("models", "verify", bundle), ("models", "show", bundle), ("models", "register", bundle),
        ("models", "diff", bundle, other), ("models", "export", bundle, "--to", "g.rwb"),
        ("models", "export", bundle, "--git", "tree"), ("models", "import", bundle),
        ("predict", "rows.csv", "--model", bundle), ("test", bundle),
        ("serve", bundle, "--port", "0"),
    ]  # fmt: skip
    for verb in verbs:
        assert "not signed" in run(home, *verb, code=1).stderr
    assert not (home / "g.rwb").exists()
    assert not (home / "tree").exists()
    assert "no key to sign with" in run(home, "models", "sign", bundle, code=2).stderr
    run(home, "models", "sign", bundle, "--key", "release.key")
    run(home, "models", "sign", other, "--key", "release.key")
    for verb in verbs[:-2]:
        run(home, *verb)


def test_a_difference_is_told_to_people_and_machines(home: Path) -> None:
    one = make_bundle(home, 1)
    report = json.loads((one / "report.json").read_text())
    metrics = {**report["metrics"], "accuracy": {"value": 0.25, "low": None, "high": None}}
    contract = json.loads((one / "contract.json").read_text())
    contract["columns"][0]["name"] = "size"
    changed = {"contract.json": json.dumps(contract).encode()}
    two = make_bundle(home, 2, files=changed, metrics=metrics)
    told = run(home, "models", "diff", one, two).stdout
    assert "accuracy: " in told
    assert "→ 0.25" in told
    assert "column size: (none) → there" in told
    found = document(home, "models", "diff", one, two)
    assert {
        "what": "accuracy",
        "before": report["metrics"]["accuracy"]["value"],
        "after": 0.25,
    } in (found["metrics"])
    assert found["parity"] == []
    assert "the same version" in run(home, "models", "diff", one, one).stdout


def test_a_tree_for_git_shows_what_changed_and_keeps_large_files_apart(home: Path) -> None:
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(home / "tree")]
    versions = [make_bundle(home, number) for number in (1, 2)]
    for number, bundle in enumerate(versions):
        run(home, "models", "export", bundle, "--git", "tree")
        if not number:
            subprocess.run([*git, "init", "-q"], check=True)
        # Git LFS itself is not needed to see that the attributes ask for it.
        off = ["-c", "filter.lfs.clean=cat", "-c", "filter.lfs.smudge=cat"]
        subprocess.run([*git, *off, "add", "-A"], check=True)
        subprocess.run([*git, *off, "commit", "-qm", bundle.name], check=True)
    asked = subprocess.run(
        [*git, "check-attr", "filter", "grades/core.onnx", "grades/plan.json"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "grades/core.onnx: filter: lfs" in asked
    assert "grades/plan.json: filter: unspecified" in asked
    change = subprocess.run(
        [*git, "show", "--stat", "HEAD"], capture_output=True, text=True, check=True
    )
    assert "report.json" in change.stdout
    assert "core.onnx" not in change.stdout  # the same core in both
    attributes = (home / "tree" / ".gitattributes").read_text()
    run(home, "models", "export", versions[0], "--git", "tree")
    assert (home / "tree" / ".gitattributes").read_text() == attributes
    assert not document(home, "models", "import", "tree/grades")["version"]["sealed"]
    run(home, "models", "export", versions[0], "--git", "slim", "--digests")
    assert not (home / "slim" / "grades" / "core.onnx").exists()
    pointers = json.loads((home / "slim" / "grades" / "large-files.json").read_text())
    assert set(pointers["files"]) == {"core.onnx"}
    assert "digests only" in run(home, "models", "import", "slim/grades", code=2).stderr
    assert "large files" in run(home, "models", "verify", "slim/grades", code=1).stderr
    (home / "own" / "grades").mkdir(parents=True)
    run(home, "models", "export", versions[0], "--git", "own", code=2)


def test_a_launch_signs_and_registers_when_the_project_says_so(home: Path) -> None:
    run(home, "keys", "generate", "release")
    (home / "roadworthy.toml").write_text(
        "[registry]\nsigning_key = 'release.key'\ntrusted_keys = ['release.pub']\n"
        "register = true\n[data]\ndrop = ['boat', 'body']\n"
        "[train]\ncandidates = ['linear']\nfolds = 2\n"
    )
    launched = document(
        home, "launch", DATA / "titanic.csv", "--target", "survived", "--budget", "8s", "--no-serve"
    )
    version = launched["version"]
    found = document(home, "models", "list")["versions"]
    assert [(each["model"], each["version"]) for each in found] == [("titanic", version)]
    assert found[0]["signer"] == document(home, "keys", "show", "release.pub")["fingerprint"]
    assert document(home, "models", "verify", "titanic")["signature"] == "trusted"
    (home / "roadworthy.toml").write_text("[registry]\nsigning_key = 'none.key'\n")
    assert "cannot be read" in run(
        home, "launch", DATA / "titanic.csv", "--target", "survived", "--no-serve", code=2
    ).stderr  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [
        ["models", "promote", "no such"], ["models", "promote", "grades", "--alias", "A B"],
        ["models", "history", "--at", "soon"], ["models", "history", "--head", "1:2"],
        ["models", "tag", "grades"], ["models", "export", "grades"],
        ["models", "gc", "--keep", "0"],
        ["models", "register", "nowhere"], ["models", "diff", "grades", "nobody"],
        ["models", "import", "nowhere.rwb"], ["keys", "show", "nowhere"],
    ],
)  # fmt: skip
def test_bad_usage_ends_with_a_message_and_code_two(home: Path, words: list[str]) -> None:
    assert run(home, *words, code=2).stderr


def test_a_sealed_bundle_is_served_as_it_is(home: Path) -> None:
    from roadworthy.bundle import keys, sealing
    from roadworthy.registry.exporting import export
    from tests.conftest import serving

    private, public = keys.generate("x25519")
    (home / "ops.key").write_bytes(private)
    (home / "ops.pub").write_bytes(public)
    export(make_bundle(home), home / "g.rwb.sealed", [str(home / "ops.pub")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(sealing.IDENTITY, str(home / "ops.key"))
        with serving(home / "g.rwb.sealed", cwd=home) as server:
            status, answer = server.predict({"height": 1.0, "colour": "red"})
    assert status == 200
    assert answer["prediction"] in ("pass", "fail")

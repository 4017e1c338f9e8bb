"""`roadworthy pipeline`: what is written, what is left alone, what is said."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import msgspec
import pytest

from roadworthy.errors import InputError, ProjectError
from roadworthy.pipeline import SYSTEMS, check, write
from roadworthy.pipeline.repository import repository_warnings
from roadworthy.pipeline.stages import jobs
from roadworthy.project import PipelineSection, Project
from tests.pipeline.projects import ALL, SHAPES, commit, full_project, make_project
from tests.pipeline.tools import run

MAIN = ".github/workflows/roadworthy.yml"
PROJECT = '[data]\npath = "data/churn.csv"\ntarget = "churn"\n'


def roadworthy(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "roadworthy", "pipeline", *words],
        capture_output=True, text=True, cwd=folder, timeout=120,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200"},
    )  # fmt: skip


def said(folder: Path, project: Project, system: str = "github") -> list[tuple[str, str]]:
    return [(each.part, each.state) for each in check(project, SYSTEMS[system], folder).changes]


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("shape", SHAPES)
def test_what_was_written_is_up_to_date_and_the_same_again(
    tmp_path: Path, system: str, shape: str
) -> None:
    write(SHAPES[shape], SYSTEMS[system], tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert check(SHAPES[shape], SYSTEMS[system], tmp_path).passed
    assert write(SHAPES[shape], SYSTEMS[system], tmp_path) == ()
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_stage_that_is_asked_for_and_none_that_is_not_is_in_the_files(
    tmp_path: Path, system: str
) -> None:
    write(full_project(), SYSTEMS[system], tmp_path)
    text = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    verbs = ["pipeline", "prepare", "train", "test", "models sign", "models verify",
             "models export", "models register", "image build", "image test", "image scan",
             "image push", "deploy plan", "deploy apply", "deploy rollback", "monitor report",
             "advise", "retrain"]  # fmt: skip
    assert [verb for verb in verbs if f"roadworthy {verb}" not in text] == []
    write(make_project(stages=("check", "train", "test")), SYSTEMS[system], tmp_path)
    kept = [SYSTEMS[system].plan(make_project())[-1].path]
    text = (tmp_path / kept[0]).read_text()
    assert "roadworthy deploy" not in text
    assert "roadworthy models export" not in text


@pytest.mark.parametrize("system", SYSTEMS)
def test_what_was_deployed_is_asked_and_taken_back_by_the_job_itself(system: str) -> None:
    for job in jobs(full_project(), system):
        if job.destination:
            last = job.commands[-1].line
            where = f'--to "$TARGET" -d {job.destination} --ask "$SERVICE_URL"'
            assert last == f"roadworthy deploy apply model.rwb {where}"


@pytest.mark.parametrize("system", SYSTEMS)
def test_an_image_is_pushed_unscanned_only_where_the_project_does_not_demand_a_scan(
    system: str,
) -> None:
    for demanded, wanted in ((False, " --skip-without-scanner"), (True, "")):
        made = jobs(full_project(require_scan=demanded), system)
        [image] = [job for job in made if job.name == "image"]
        [scan] = [each.line for each in image.commands if "image scan" in each.line]
        assert scan == f'roadworthy image scan "$IMAGE"{wanted}'


def test_a_stage_that_is_switched_on_comes_in_and_a_hand_edit_beside_it_stays(
    tmp_path: Path,
) -> None:
    write(make_project(stages=("check", "train", "test")), SYSTEMS["github"], tmp_path)
    file = tmp_path / MAIN
    edited = file.read_text().replace("timeout-minutes: 90", "timeout-minutes: 300")
    file.write_text(edited + "  mine:\n    runs-on: ubuntu-24.04\n")
    wanted = make_project()
    assert said(tmp_path, wanted) == [("train", "edited"), ("package", "missing")]
    write(wanted, SYSTEMS["github"], tmp_path)
    text = file.read_text()
    assert "timeout-minutes: 300" in text
    assert "  mine:\n" in text
    assert "  package:\n" in text
    assert said(tmp_path, wanted) == [("train", "edited")]
    assert said(tmp_path, wanted.override("pipeline", own=("train",))) == []


def test_a_file_of_ones_own_is_left_alone(tmp_path: Path) -> None:
    own = tmp_path / ".gitlab-ci.yml"
    own.write_text("job:\n  script: [make]\n")
    write(make_project(), SYSTEMS["gitlab"], tmp_path)
    assert own.read_text() == "job:\n  script: [make]\n"
    [change] = check(make_project(), SYSTEMS["gitlab"], tmp_path).changes
    assert (change.path, change.state) == (".gitlab-ci.yml", "foreign")
    assert "/.gitlab/roadworthy.yml" in change.fix
    own.write_text("include: [{local: /.gitlab/roadworthy.yml}]\njob:\n  script: [make]\n")
    assert check(make_project(), SYSTEMS["gitlab"], tmp_path).changes == ()


def test_nothing_is_written_when_one_file_cannot_be_merged(tmp_path: Path) -> None:
    write(make_project(), SYSTEMS["github"], tmp_path)
    file = tmp_path / MAIN
    file.write_text(file.read_text().replace("# roadworthy:end train\n", ""))
    action = tmp_path / ".github/actions/roadworthy/action.yml"
    before = action.read_bytes()
    with pytest.raises(InputError, match="part 'test' begins where it may not"):
        write(make_project(python="3.13"), SYSTEMS["github"], tmp_path)
    assert action.read_bytes() == before


def test_the_verb_writes_checks_and_says_what_drifted(tmp_path: Path) -> None:
    (tmp_path / "roadworthy.toml").write_text(PROJECT)
    missing = roadworthy(tmp_path, "github", "--check")
    assert missing.returncode == 1
    assert "is not written yet" in missing.stdout
    assert not (tmp_path / ".github").exists()
    done = roadworthy(tmp_path, "github")
    assert (done.returncode, f"{MAIN} written" in done.stdout) == (0, True)
    assert roadworthy(tmp_path, "github", "--check").returncode == 0
    file = tmp_path / MAIN
    file.write_text(file.read_text().replace("retention-days: 30", "retention-days: 0"))
    drift = roadworthy(tmp_path, "github", "--check", "--json")
    assert drift.returncode == 1
    document = json.loads(drift.stdout)
    assert not document["passed"]
    assert [each["state"] for each in document["changes"]] == ["edited"] * len(document["changes"])
    assert {each["rule"] for each in document["findings"]} == {"retention"}
    lines = file.read_text().split("\n")
    for finding in document["findings"]:
        assert "uses: actions/upload-artifact" in "".join(
            lines[finding["line"] - 1 : finding["line"] + 3]
        )


@pytest.mark.parametrize(
    ("text", "words", "what"),
    [
        ("", ["github"], "a pipeline needs to know the table"),
        (PROJECT + '[pipeline]\nstages = ["test"]\n', ["gitlab"], "pipeline.stages is not allowed"),
        (PROJECT + '[pipeline]\nstages = ["tset"]\n', ["gitlab"], "pipeline.stages"),
        (
            PROJECT + '[pipeline]\nstages = ["rollback"]\n',
            ["jenkins"],
            "pipeline.targets is not set",
        ),
        (
            PROJECT + '[pipeline]\nnightly = "often"\n',
            ["github"],
            "pipeline.nightly is not allowed",
        ),
        (PROJECT + '[pipeline]\nlint = ["a\\nb"]\n', ["github"], "pipeline.lint is not allowed"),
        (PROJECT + '[pipeline]\nbranch = "a b"\n', ["github"], "pipeline.branch is not allowed"),
        (
            PROJECT + '[pipeline]\nimage = "Acme/x:1"\n',
            ["github"],
            "pipeline.image is not allowed",
        ),
        (PROJECT + "[pipeline]\nlnit = []\n", ["github"], "did you mean 'lint'?"),
        (PROJECT, ["travis"], "Invalid value"),
        (PROJECT, ["github", "--trust", "aws"], "whom to trust is not said"),
    ],
)
def test_bad_input_is_told_and_nothing_is_written(
    tmp_path: Path, text: str, words: list[str], what: str
) -> None:
    (tmp_path / "roadworthy.toml").write_text(text)
    done = roadworthy(tmp_path, *words)
    assert done.returncode == 2
    assert what in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["roadworthy.toml"]


def test_what_is_monitored_must_have_a_name() -> None:
    project = Project().override("data", path="a.csv", target="y")
    with pytest.raises(ProjectError, match="has no name"):
        jobs(project.override("pipeline", stages=("monitor",)), "github")


def test_a_release_is_signed_by_one_key() -> None:
    project = full_project().override("registry", signing_key="release.key")
    with pytest.raises(ProjectError, match="signed twice"):
        jobs(project, "github")


def test_jenkins_must_be_told_where_images_go(tmp_path: Path) -> None:
    project = make_project(stages=("train", "test", "package", "image"))
    with pytest.raises(ProjectError, match="no registry of its own"):
        write(project, SYSTEMS["jenkins"], tmp_path)


def test_jobs_that_hold_secrets_run_on_the_branch_of_releases_alone() -> None:
    for job in jobs(full_project(), "github"):
        secrets = any(command.secrets for command in job.commands)
        if secrets or job.signs_in or job.environment:
            assert job.when in ("release", "schedule", "manual"), job.name


def test_every_need_and_every_artifact_is_made_by_an_earlier_job() -> None:
    for shape in [*SHAPES.values(), *(full_project(stages=ALL[:n]) for n in range(1, len(ALL)))]:
        seen: set[str] = set()
        made: set[str] = set()
        for job in jobs(shape, "github"):
            assert set(job.needs) <= seen
            assert set(job.takes) <= made
            seen.add(job.name)
            made |= {kept.name for kept in job.keeps}


def test_the_template_of_init_shows_every_key_with_its_default() -> None:
    from roadworthy.cli.init import _TEMPLATE

    section = re.split(r"\n(?:# )?\[", _TEMPLATE.partition("[pipeline]\n")[2])[0]
    shown = re.sub(r"(?m)^# (?=[a-z_]+ = )", "", section.replace("{{", "{").replace("}}", "}"))
    values = tomllib.loads("\n".join(line for line in shown.split("\n") if " = " in line))
    defaults = msgspec.json.decode(msgspec.json.encode(PipelineSection()))
    assert set(values) == set(defaults)
    defaults["image"] = "registry.example/team/churn"
    assert values == {key: defaults[key] for key in values}


def test_what_leaves_neither_counts_nor_a_log_cannot_be_monitored() -> None:
    silent = make_project(stages=("monitor",))
    with pytest.raises(ProjectError, match="nothing to monitor"):
        jobs(silent, "github")
    [counted] = jobs(silent.override("monitor", counts="counts"), "github")
    assert [command.title for command in counted.commands] == ["What changed"]
    logged = jobs(silent.override("serve", log_folder="log"), "github")
    assert [job.name for job in logged] == ["monitor", "challenger"]


def test_a_repository_in_which_nothing_would_run_is_warned_of(tmp_path: Path) -> None:
    run("git", "init", "--quiet", "--initial-branch", "trunk", tmp_path)
    inside = tmp_path / "services" / "churn"
    inside.mkdir(parents=True)
    below, other = repository_warnings(inside, "main", "github")
    assert "services/churn/" in below
    assert 'branch = "trunk"' in other
    assert repository_warnings(inside, "trunk", "jenkins") == ()
    commit(tmp_path, "github.com")
    assert "'main'" in repository_warnings(tmp_path, "trunk", "github")[0]  # origin's own
    assert repository_warnings(tmp_path, "main", "github") == ()
    (inside / "roadworthy.toml").write_text(PROJECT)
    done = roadworthy(inside, "github")
    assert done.returncode == 0
    assert "warning: github reads .github/workflows at the root" in done.stderr

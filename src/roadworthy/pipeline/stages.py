"""What a pipeline does, as plain data: every system's files are written from these jobs."""

from __future__ import annotations

import shlex
from typing import Literal

import msgspec

from roadworthy.errors import ProjectError
from roadworthy.project import Project, StageName

Event = Literal["change", "request", "release", "schedule", "manual"]
BUNDLE = "model.rwb"
VERDICT = "verdict.md"
BILL = "sbom.cdx.json"


class Command(msgspec.Struct, frozen=True):
    """One command of a job.

    Attributes:
        title: What it does, for people.
        line: The line for a POSIX shell.
        secrets: Names of secrets that it alone sees, as variables of the same name.
    """

    title: str
    line: str
    secrets: tuple[str, ...] = ()


class Kept(msgspec.Struct, frozen=True):
    """What a job leaves for later ones and for people.

    Attributes:
        name: The artifact's name.
        paths: Its files and folders.
        always: Whether it is kept when the job failed, too.
    """

    name: str
    paths: tuple[str, ...]
    always: bool = False


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One job of a pipeline.

    Attributes:
        name: Its name; also the name of the part of the file that holds it.
        title: What it does, for people.
        stage: The stage of `[pipeline] stages` that it belongs to.
        when: On every change (and nightly), on requests to merge, on releases (the branch itself),
            on the schedule of monitoring, or by hand.
        commands: What it runs, in order; the first that fails ends it.
        needs: Jobs that must have succeeded.
        takes: Artifacts that it reads.
        keeps: Artifacts that it leaves.
        sets_up: Whether it needs the code and Roadworthy at all.
        minutes: After which it is ended.
        environment: The protected environment it runs in, if any.
        approved: Whether a person must approve it.
        targeted: Whether it runs once for each of `[pipeline] targets`, as the variable TARGET.
        destination: The overlay of the project file; "" when a person chooses it.
        signs_in: Whether it proves to clouds who it is.
        reads_packages: Whether it pulls from the registry of images.
        writes_packages: Whether it pushes to the registry of images.
        caches: Whether the bundle of an earlier run of the same data and code may be taken up.
        variables: Plain variables.
        junit: Its JUnit report, if any.
    """

    name: str
    title: str
    stage: StageName
    when: Event
    commands: tuple[Command, ...]
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    keeps: tuple[Kept, ...] = ()
    sets_up: bool = True
    minutes: int = 20
    environment: str | None = None
    approved: bool = False
    targeted: bool = False
    destination: str | None = None
    signs_in: bool = False
    reads_packages: bool = False
    writes_packages: bool = False
    caches: bool = False
    variables: dict[str, str] = {}
    junit: str | None = None


def jobs(project: Project, system: str) -> tuple[Job, ...]:
    """The jobs of a project's pipeline, each after those that it needs.

    Args:
        project: The project.
        system: The name of the CI system, for the job that checks its files.

    Raises:
        ProjectError: The project does not say which table and column, or contradicts itself.
    """
    if project.data.path is None or project.data.target is None:
        raise ProjectError(
            "a pipeline needs to know the table and the column to predict",
            where="[data] path, target",
            fix="roadworthy init DATA --target COLUMN",
        )
    wanted = project.pipeline.stages
    if "monitor" in wanted and project.project.name is None:
        raise ProjectError(
            "what is monitored has no name", where="[project] name", fix="give the model a name"
        )
    if "monitor" in wanted and not (project.monitor.counts or project.serve.log_folder):
        raise ProjectError(
            "nothing is kept of what is served, so there is nothing to monitor",
            where="[monitor] counts, [serve] log_folder",
            fix="set counts, and log_folder for advice and challengers; `fetch` brings them",
        )
    if project.pipeline.sign and project.registry.signing_key:
        raise ProjectError(
            "a release would be signed twice, the first time by a job that sees no secret",
            where="[registry] signing_key, [pipeline] sign",
            fix="take signing_key out: the key is the secret ROADWORTHY_SIGNING_KEY",
        )
    made = [
        _check(project, system),
        _train(project),
        _test(project),
        _comment(),
        _package(project),
        _image(project),
        _deploy(project, "staging", before="image"),
        _deploy(project, "production", before="staging"),
        _monitor(project),
        _challenger(project),
        _rollback(),
    ]
    kept = [job for job in made if job.stage in wanted and (job.commands or job.when == "request")]
    names = {job.name for job in kept}
    return tuple(
        msgspec.structs.replace(job, needs=tuple(n for n in job.needs if n in names))
        for job in kept
    )


def _verb(title: str, *words: str, secrets: tuple[str, ...] = ()) -> Command:
    return Command(title, line("roadworthy", *words), secrets)


def line(*words: str) -> str:
    """Words as one line for a POSIX shell; `$NAME` is a variable's value, always one word."""
    return " ".join(f'"{word}"' if word.startswith("$") else shlex.quote(word) for word in words)


def _own(title: str, lines: tuple[str, ...]) -> tuple[Command, ...]:
    return tuple(Command(title, text) for text in lines)


def _fetch(project: Project) -> tuple[Command, ...]:
    return _own("Bring the table", project.pipeline.fetch)


def _check(project: Project, system: str) -> Job:
    return Job(
        name="check",
        title="Check",
        stage="check",
        when="change",
        commands=(
            _verb("These files are what the project asks for", "pipeline", system, "--check"),
            *_own("Look at the code", project.pipeline.lint),
            *_own("The project's tests", project.pipeline.tests),
            *_fetch(project),
            _verb("The table can be read", "prepare", "--explain"),
        ),
        minutes=30,
    )


def _unsigned(project: Project) -> dict[str, str]:
    # what is signed only after it was tested cannot be trusted before
    signs = project.pipeline.sign and project.registry.trusted_keys
    return {"ROADWORTHY_REGISTRY_TRUSTED_KEYS": "[]"} if signs else {}


def _train(project: Project) -> Job:
    return Job(
        name="train",
        title="Train",
        stage="train",
        when="change",
        needs=("check",),
        commands=(
            *_fetch(project),
            _verb("Train, unless data and code are as before", "train", "--reuse", "--no-gates"),
        ),
        keeps=(Kept("bundles", (f"{project.package.directory}/",)),),
        minutes=90,
        caches=True,
        variables=_unsigned(project),
    )


def _test(project: Project) -> Job:
    reports = ("gates.xml", VERDICT, "report.html")
    options = ("--junit", reports[0], "--markdown", reports[1], "--html", reports[2])
    return Job(
        name="test",
        title="Test",
        stage="test",
        when="change",
        needs=("train",),
        takes=("bundles",),
        commands=(_verb("The gates", "test", *options),),
        keeps=(Kept("verdict", reports, always=True),),
        junit=reports[0],
        variables=_unsigned(project),
    )


def _comment() -> Job:
    return Job(
        name="comment",
        title="Comment",
        stage="test",
        when="request",
        needs=("test",),
        takes=("verdict",),
        commands=(),  # each system's own way to speak to people
        sets_up=False,
        minutes=5,
    )


def _registry_secrets(project: Project) -> tuple[str, ...]:
    return ("ROADWORTHY_REGISTRY_URL",) if project.registry.url is None else ()


def _service_secrets(project: Project) -> tuple[str, ...]:
    return ("ROADWORTHY_TOKEN",) if project.serve.keys or project.serve.jwks else ()


def _package(project: Project) -> Job:
    folder, commands = f"{project.package.directory}/", []  # a path, not the name of a model
    if project.pipeline.sign:
        options = ("--key", "env:ROADWORTHY_SIGNING_KEY")
        commands.append(
            _verb("Sign", "models", "sign", folder, *options, secrets=("ROADWORTHY_SIGNING_KEY",))
        )
    commands += [
        _verb("Verify", "models", "verify", folder),
        _verb("One file", "models", "export", folder, "--to", BUNDLE),
    ]
    if project.pipeline.register:
        words = ("models", "register", BUNDLE, "--alias", "challenger")
        commands.append(_verb("Register", *words, secrets=_registry_secrets(project)))
    return Job(
        name="package",
        title="Package",
        stage="package",
        when="release",
        needs=("test",),
        takes=("bundles",),
        commands=tuple(commands),
        keeps=(Kept("model", (BUNDLE,)),),
        signs_in=project.pipeline.register,
    )


def _image(project: Project) -> Job:
    tag = ("--tag", "$IMAGE")
    scan = () if project.pipeline.require_scan else ("--skip-without-scanner",)
    options: tuple[str, ...] = ("--sbom", BILL)
    secrets: tuple[str, ...] = ()
    if project.pipeline.sign:
        options = (*options, "--key", "env:ROADWORTHY_SIGNING_KEY")
        secrets = ("ROADWORTHY_SIGNING_KEY",)
    if project.pipeline.register:
        secrets = (*secrets, *_registry_secrets(project))
    else:
        options = (*options, "--no-record")
    return Job(
        name="image",
        title="Image",
        stage="image",
        when="release",
        needs=("package",),
        takes=("model",),
        commands=(
            _verb("Build", "image", "build", BUNDLE, *tag),
            _verb("Test it as it runs", "image", "test", BUNDLE, *tag),
            _verb("Look for known faults", "image", "scan", "$IMAGE", *scan),
            _verb("Push, by digest", "image", "push", "$IMAGE", *options, secrets=secrets),
        ),
        keeps=(Kept("sbom", (BILL,)),),
        minutes=40,
        writes_packages=True,
    )


def _deploy(project: Project, destination: Literal["staging", "production"], before: str) -> Job:
    where = ("--to", "$TARGET", "-d", destination)
    plan = line("roadworthy", "deploy", "plan", BUNDLE, *where)
    return Job(
        name=destination,
        title=f"Deploy {destination}",
        stage=destination,
        when="release",
        needs=("package", before),
        takes=("model",),
        commands=(
            Command("Plan", f"{plan} > plan.txt"),
            Command("Show the plan", "cat plan.txt"),
            _verb(
                "Apply, ask the service, else go back",
                *("deploy", "apply", BUNDLE, *where, "--ask", "$SERVICE_URL"),
                secrets=_service_secrets(project),
            ),
        ),
        keeps=(Kept(f"plan-{destination}", ("plan.txt",), always=True),),
        minutes=40,
        environment=destination,
        approved=destination == "production",
        targeted=True,
        destination=destination,
        signs_in=True,
        reads_packages="image" in project.pipeline.stages,
    )


def _monitor(project: Project) -> Job:
    served = f"{project.project.name}@champion"
    secrets = _registry_secrets(project)
    commands = list(_fetch(project))
    if project.monitor.counts:
        commands.append(_verb("What changed", "monitor", "report", served, secrets=secrets))
    if project.serve.log_folder:
        advise = line("roadworthy", "advise", "--model", served)
        commands += [
            Command("What to do", f"{advise} > advice.txt", secrets),
            Command("Show the advice", "cat advice.txt"),
            _verb(
                "A challenger, if that is the advice",
                *("retrain", "--model", served, "--if-advised"),
                secrets=secrets,
            ),
        ]
    return Job(
        name="monitor",
        title="Monitor",
        stage="monitor",
        when="schedule",
        commands=tuple(commands),
        keeps=(Kept("challenger", ("advice.txt", f"{project.package.directory}/"), always=True),),
        minutes=120,
        signs_in=True,
    )


_COMMIT = (
    'git add models && { git diff --cached --quiet || git commit --quiet -m "Offer a challenger"; }'
)


def _challenger(project: Project) -> Job:
    folder = shlex.quote(f"{project.package.directory}/")
    tree = f"roadworthy models export {folder} --git models --digests"
    offered = (
        Command("The challenger as files to commit", f"test ! -d {folder} || {tree}"),
        Command("Commit it", _COMMIT),
    )
    return Job(
        name="challenger",
        title="Challenger",
        stage="monitor",
        when="schedule",
        needs=("monitor",),
        takes=("challenger",),
        commands=offered if project.serve.log_folder else (),  # no log, no advice
        minutes=10,
    )


def _rollback() -> Job:
    return Job(
        name="rollback",
        title="Roll back",
        stage="rollback",
        when="manual",
        commands=(
            _verb("Roll back", "deploy", "rollback", "--to", "$TARGET", "-d", "$DESTINATION"),
        ),
        targeted=True,
        destination="",
        signs_in=True,
    )

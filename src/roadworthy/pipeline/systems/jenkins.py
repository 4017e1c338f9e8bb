"""Jenkins: declarative pipelines for changes and releases, to monitor, and to roll back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from roadworthy.errors import ProjectError
from roadworthy.pipeline.parts import Part, Plan
from roadworthy.pipeline.rules import Finding
from roadworthy.pipeline.rules.jenkins import inspect
from roadworthy.pipeline.stages import VERDICT, Command, Job, jobs
from roadworthy.pipeline.systems._base import about, image_registry, installing, service_variable
from roadworthy.pipeline.systems.groovy_text import Lines, block, indented, quoted
from roadworthy.pipeline.systems.signing_in import google_line
from roadworthy.project import PipelineSection, Project

_MAIN = "Jenkinsfile"
_MONITOR = "Jenkinsfile.monitor"
_ROLLBACK = "Jenkinsfile.rollback"
_PATH = 'withEnv(["PATH+ROADWORTHY=${env.WORKSPACE}/.venv/bin"])'
_TOKEN_FILES = {
    "aws": "AWS_WEB_IDENTITY_TOKEN_FILE",
    "azure": "AZURE_FEDERATED_TOKEN_FILE",
    "gcp": "GCP_TOKEN_FILE",
}


class Jenkins:
    """Jenkins, with declarative pipelines."""

    name = "jenkins"
    title = "Jenkins"

    def plan(self, project: Project) -> tuple[Plan, ...]:
        """The Jenkinsfiles."""
        made = jobs(project, self.name)
        options = project.pipeline
        if "image" in options.stages and options.image is None:
            raise ProjectError(
                "Jenkins has no registry of its own for images",
                where="[pipeline] image",
                fix="name the image: registry.example/team/churn",
            )
        plans = [Plan(_MAIN, "//", about(self.name), tuple(_main(made, options)))]
        watched = [job for job in made if job.when == "schedule"]
        if watched:
            top = _top(options, [f"cron({quoted(options.monitoring)})"])
            parts = (top, Part("monitor", _watching(watched, options)), _closing("end", 1))
            plans.append(Plan(_MONITOR, "//", about(self.name), parts))
        for job in made:
            if job.when == "manual":
                parts = (_top(options, [], _choice()), _alone(job, options), _closing("end", 1))
                plans.append(Plan(_ROLLBACK, "//", about(self.name), parts))
        return tuple(plans)

    def inspect(self, path: str, text: str, options: PipelineSection) -> list[Finding]:
        """What the rules have to say about a Jenkinsfile."""
        return inspect(path, text)


def _main(made: Sequence[Job], options: PipelineSection) -> Iterable[Part]:
    triggers = []
    if options.nightly is not None:
        here = f"env.BRANCH_NAME == {quoted(options.branch)}"
        triggers = [f"cron({here} ? {quoted(options.nightly)} : '')"]
    yield _top(options, triggers)
    built = [job for job in made if job.when in ("change", "release") and not job.targeted]
    agent = f"agent {{ label {quoted(options.jenkins_agent)} }}"
    setup = block("stage('Set up')", _limit(20), block("steps", _setting_up(options)))
    body = ["stage('Build') {", f"  {agent}", "  stages {", *(f"    {line}" for line in setup)]
    yield Part("build", indented(body, 2))
    for job in built:
        yield Part(job.name, indented(_stage(job, options), 4))
    closing = ["  }", "  post {", "    cleanup {", "      deleteDir()", "    }", "  }", "}"]
    yield Part("build-end", indented(closing, 2))
    for job in made:
        if job.targeted and job.when == "release":
            if job.approved:
                yield Part("approve", indented(_approval(job, options), 2))
            yield _alone(job, options)
    yield _closing("end", 1)


def _top(options: PipelineSection, triggers: Sequence[str], parameters: Sequence[str] = ()) -> Part:
    kept = f"numToKeepStr: '100', artifactDaysToKeepStr: '{options.keep_days}'"
    lines = [
        "pipeline {",
        "  agent none",
        "  options {",
        f"    buildDiscarder(logRotator({kept}))",
        "    disableConcurrentBuilds()",
        "    timeout(time: 4, unit: 'DAYS')",
        "  }",
    ]
    if parameters:
        lines += [f"  {line}" for line in block("parameters", parameters)]
    if triggers:
        lines += [f"  {line}" for line in block("triggers", triggers)]
    return Part("pipeline", indented([*lines, "  stages {"], 0))


def _closing(name: str, depth: int) -> Part:
    return Part(name, indented(["  " * level + "}" for level in range(depth, -1, -1)], 0))


def _choice() -> Lines:
    places = "choices: ['staging', 'production']"
    about = "description: 'Where to put the version before back'"
    return [f"choice(name: 'DESTINATION', {places}, {about})"]


def _limit(minutes: int) -> str:
    return f"options {{ timeout(time: {minutes}, unit: 'MINUTES') }}"


def _setting_up(options: PipelineSection) -> Lines:
    lines = block("retry(2)", [_sh(line) for line in installing(options)])
    return [_sh("python3 -m venv .venv"), *block(_PATH, lines)]


def _sh(line: str) -> str:
    return f"sh {quoted(line)}"


def _when(job: Job, options: PipelineSection, *, asks: bool = False) -> Lines:
    if job.when == "change":
        return []
    order = ["beforeAgent true", *(["beforeInput true"] if asks else [])]
    if job.when == "release":
        branch = f"branch {quoted(options.branch)}"
        return block("when", order, branch, "not { triggeredBy 'TimerTrigger' }")
    return []


def _stage(job: Job, options: PipelineSection) -> Lines:
    head = f"stage({quoted(job.title)})"
    groups = _groups(job)
    if len(groups) > 1:
        branches: Lines = []
        for title, commands in groups.items():
            steps = block("steps", _steps(job, commands, options))
            branches += block(f"stage({quoted(title)})", _limit(job.minutes), steps)
        return block(head, block("parallel", branches))
    steps = block("steps", _steps(job, job.commands, options))
    return block(head, _limit(job.minutes), _when(job, options), steps, _post(job))


def _groups(job: Job) -> dict[str, list[Command]]:
    """The parts of a check that do not depend on each other; one for all other jobs."""
    if job.name != "check":
        return {job.title: list(job.commands)}
    own = ("Look at the code", "The project's tests")
    groups: dict[str, list[Command]] = {}
    for command in job.commands:
        groups.setdefault(command.title if command.title in own else "The table", []).append(
            command
        )
    return groups


def _steps(job: Job, commands: Sequence[Command], options: PipelineSection) -> Lines:
    lines: Lines = []
    for command in commands:
        step = [_sh(command.line)]
        if command.secrets:
            bound = ", ".join(_secret(name) for name in command.secrets)
            step = block(f"withCredentials([{bound}])", step)
        lines += step
    if job.writes_packages or job.reads_packages:
        lines = [*_log_in(options), *lines]
    if job.writes_packages:
        pair = f'withEnv(["IMAGE={options.image}:${{env.GIT_COMMIT}}"])'
        lines = _with_registry(block(pair, lines))
    stashes = [
        f"stash name: {quoted(kept.name)}, includes: {quoted(kept.paths[0])}"
        for kept in job.keeps
        if job.name == "package"
    ]
    inner = block(_PATH, lines)
    if job.variables:
        pairs = ", ".join(quoted(f"{key}={value}") for key, value in job.variables.items())
        inner = block(f"withEnv([{pairs}])", inner)
    return [*inner, *stashes]


def _secret(name: str) -> str:
    identity = name.lower().replace("_", "-")
    return f"string(credentialsId: {quoted(identity)}, variable: {quoted(name)})"


def _log_in(options: PipelineSection) -> Lines:
    line = (
        'printf \'%s\' "$REGISTRY_PASSWORD" | docker login --username "$REGISTRY_USERNAME" '
        f"--password-stdin {image_registry(options)}"
    )
    return [_sh(line)]


def _with_registry(lines: Lines) -> Lines:
    bound = (
        "usernamePassword(credentialsId: 'registry', usernameVariable: 'REGISTRY_USERNAME', "
        "passwordVariable: 'REGISTRY_PASSWORD')"
    )
    return block(f"withCredentials([{bound}])", lines)


def _post(job: Job) -> Lines:
    lines: Lines = []
    if job.junit:
        lines.append(f"junit testResults: {quoted(job.junit)}, allowEmptyResults: true")
    for kept in job.keeps:
        files = [path for path in kept.paths if not path.endswith("/") and path != job.junit]
        if files:
            empty = str(kept.always).lower()
            named = quoted(",".join(files))
            lines.append(
                f"archiveArtifacts artifacts: {named}, "
                f"allowEmptyArchive: {empty}, fingerprint: true"
            )
    if VERDICT in (path for kept in job.keeps for path in kept.paths):
        shown = f"publishChecks name: 'Roadworthy', title: 'Gates', summary: readFile('{VERDICT}')"
        lines += block("script", block(f"if (env.CHANGE_ID && fileExists('{VERDICT}'))", [shown]))
    if not lines:
        return []
    always = any(kept.always for kept in job.keeps)
    return block("post", block("always" if always else "success", lines))


def _approval(job: Job, options: PipelineSection) -> Lines:
    asked = block("input", "message 'Deploy to production?'", "ok 'Deploy'", "submitter 'release'")
    return block(
        "stage('Approve')",
        _when(job, options, asks=True),
        "options { timeout(time: 3, unit: 'DAYS') }",
        asked,
        block("steps", "echo 'approved'"),
    )


def _alone(job: Job, options: PipelineSection) -> Part:
    """A stage with an agent of its own, so that nobody's agent waits for a person."""
    agent = f"agent {{ label {quoted(options.jenkins_agent)} }}"
    steps = _setting_up(options)
    steps += [f"unstash {quoted(name)}" for name in job.takes]
    place = job.destination or "${params.DESTINATION}"
    lock = f'"deploy-{place}-${{env.TARGET}}"' if not job.destination else quoted(f"deploy-{place}")
    steps += block(f"lock(resource: {lock})", _signed_in(job, options))
    body = [block("steps", steps), _post(job)]
    inner: list[Lines] = [_environment(job, options), *body]
    when = _when(job, options)
    head = f"stage({quoted(job.title)})"
    if len(options.targets) == 1:
        return Part(job.name, indented(block(head, agent, when, _limit(job.minutes), *inner), 2))
    values = ", ".join(map(quoted, options.targets))
    axes = block("axes", block("axis", "name 'TARGET'", f"values {values}"))
    cell = block(f"stage({quoted(job.title + ': a target')})", agent, _limit(job.minutes), *inner)
    matrix = block("matrix", axes, block("stages", cell))
    return Part(job.name, indented(block(head, when, matrix), 2))


def _environment(job: Job, options: PipelineSection) -> Lines:
    lines = []
    if len(options.targets) == 1:
        lines.append(f"TARGET = {quoted(options.targets[0])}")
    if job.destination == "":
        lines.append('DESTINATION = "${params.DESTINATION}"')
    elif len(options.targets) == 1:
        name = f"{service_variable(options.targets[0], options)}_{job.destination}".upper()
        lines.append(f'SERVICE_URL = "${{env.{name}}}"')
    else:
        prefix = f"SERVICE_URL_{job.destination}_".upper()
        name = f"'{prefix}' + env.TARGET.toUpperCase().replace('-', '_')"
        lines.append(f'SERVICE_URL = "${{env[{name}]}}"')
    return block("environment", lines)


def _signed_in(job: Job, options: PipelineSection) -> Lines:
    lines = _steps(job, job.commands, options)
    if not options.clouds or not job.signs_in:
        return _with_registry(lines) if job.reads_packages else lines
    bound = ", ".join(
        f"file(credentialsId: '{cloud}-oidc', variable: {quoted(_TOKEN_FILES[cloud])})"
        for cloud in options.clouds
    )
    if "gcp" in options.clouds:
        credentials = "$WORKSPACE/.gcp.json"
        line = google_line("$GCP_TOKEN_FILE", credentials)
        pair = 'withEnv(["GOOGLE_APPLICATION_CREDENTIALS=${env.WORKSPACE}/.gcp.json"])'
        lines = [_sh(line), *block(pair, lines)]
    if job.reads_packages:
        lines = _with_registry(lines)
    return block(f"withCredentials([{bound}])", lines)


def _watching(watched: Sequence[Job], options: PipelineSection) -> str:
    agent = f"agent {{ label {quoted(options.jenkins_agent)} }}"
    steps = _setting_up(options)
    for job in watched:
        steps += _signed_in(job, options) if job.signs_in else _challenger(job, options)
    keep = "archiveArtifacts artifacts: 'advice.txt', allowEmptyArchive: true"
    post = block("post", block("always", keep), block("cleanup", "deleteDir()"))
    return indented(block("stage('Monitor')", agent, _limit(150), block("steps", steps), post), 2)


def _challenger(job: Job, options: PipelineSection) -> Lines:
    names = "git config user.name roadworthy && git config user.email roadworthy@noreply.invalid"
    lines = [_sh(names), _sh("git switch --quiet --create roadworthy/challenger")]
    lines += [_sh(command.line) for command in job.commands]
    offer = (
        'git diff --quiet "$GIT_COMMIT" HEAD '
        "|| git push --quiet --force origin roadworthy/challenger"
    )
    bound = "gitUsernamePassword(credentialsId: 'git', gitToolName: 'Default')"
    return block(_PATH, lines, block(f"withCredentials([{bound}])", _sh(offer)))

"""GitLab CI: one file of jobs, and the project's own file that includes it."""

from __future__ import annotations

from typing import Any

from roadworthy.pipeline.parts import Part, Plan
from roadworthy.pipeline.rules import Finding
from roadworthy.pipeline.rules.gitlab import inspect
from roadworthy.pipeline.stages import VERDICT, Job, jobs
from roadworthy.pipeline.systems._base import about, image_registry, installing, service_variable
from roadworthy.pipeline.systems.signing_in import token_lines, token_variables
from roadworthy.pipeline.yaml_text import emit
from roadworthy.project import PipelineSection, Project

_ROOT = ".gitlab-ci.yml"
_JOBS = ".gitlab/roadworthy.yml"
_TOKENS = "$CI_PROJECT_DIR.tokens"
_PREFIX = "roadworthy-"
ENGINE = "docker:28.5.2-dind"
_CURL = "curlimages/curl:8.17.0"
_AUDIENCES = {
    "aws": "sts.amazonaws.com",
    "azure": "api://AzureADTokenExchange",
    "gcp": "https://iam.googleapis.com/$GCP_IDENTITY_PROVIDER",
}


class GitLab:
    """GitLab CI."""

    name = "gitlab"
    title = "GitLab CI"

    def plan(self, project: Project) -> tuple[Plan, ...]:
        """The project's file, and the file of jobs that it includes."""
        made = jobs(project, self.name)
        root = Part("roadworthy", emit(_root(made)))
        parts = [Part("setup", emit({".roadworthy": _setup(project.pipeline)}))]
        parts += [
            Part(job.name, emit({_PREFIX + job.name: _job(job, made, project)})) for job in made
        ]
        return (
            Plan(_ROOT, "#", about(self.name), (root,), suffices=_JOBS),
            Plan(_JOBS, "#", about(self.name), tuple(parts)),
        )

    def inspect(self, path: str, text: str, options: PipelineSection) -> list[Finding]:
        """What the rules have to say about a file of jobs."""
        return inspect(path, text)


def _root(made: tuple[Job, ...]) -> dict[str, Any]:
    return {
        "workflow": {
            "rules": [
                {"if": '$CI_PIPELINE_SOURCE == "merge_request_event"'},
                {"if": "$CI_COMMIT_BRANCH && $CI_OPEN_MERGE_REQUESTS", "when": "never"},
                {"if": "$CI_COMMIT_BRANCH"},
            ]
        },
        "stages": list(dict.fromkeys(job.stage for job in made)),
        "include": [{"local": f"/{_JOBS}"}],
    }


def _setup(options: PipelineSection) -> dict[str, Any]:
    return {
        "image": options.gitlab_image,
        "interruptible": True,
        "retry": {
            "max": 2,
            "when": ["runner_system_failure", "stuck_or_timeout_failure", "scheduler_failure"],
        },
        "variables": {
            "PIP_CACHE_DIR": "$CI_PROJECT_DIR/.cache/pip",
            "PIP_ROOT_USER_ACTION": "ignore",
        },
        "cache": [_pip_cache()],
        "before_script": list(installing(options)),
    }


def _pip_cache() -> dict[str, Any]:
    return {"key": {"files": ["pyproject.toml"], "prefix": "pip"}, "paths": [".cache/pip/"]}


def _job(job: Job, made: tuple[Job, ...], project: Project) -> dict[str, Any]:
    options = project.pipeline
    body: dict[str, Any] = {"extends": ".roadworthy"} if job.sets_up else {"image": _CURL}
    body |= {"stage": job.stage, "rules": _rules(job, options), "needs": _needs(job, made)}
    body["timeout"] = f"{job.minutes} minutes"
    if job.targeted or job.writes_packages:
        body |= {"interruptible": False, "retry": 0}
    if job.targeted:
        body |= _deployment(job, options)
    variables = _variables(job, options)
    if variables:
        body["variables"] = variables
    if job.caches:
        body["cache"] = [_pip_cache(), _bundle_cache(project)]
    if job.signs_in and options.clouds:
        body["id_tokens"] = {
            f"{cloud.upper()}_ID_TOKEN": {"aud": _AUDIENCES[cloud]} for cloud in options.clouds
        }
    if job.writes_packages:
        body["services"] = [ENGINE]
    body["script"] = _script(job, options)
    if job.keeps:
        body["artifacts"] = _artifacts(job, options)
    return body


def _rules(job: Job, options: PipelineSection) -> list[dict[str, str]]:
    branch = f'$CI_COMMIT_BRANCH == "{options.branch}"'
    request = '$CI_PIPELINE_SOURCE == "merge_request_event"'
    if job.when == "change":
        return [{"if": request}, {"if": f"{branch} && $ROADWORTHY_TASK == null"}]
    if job.when == "request":
        return [{"if": f"{request} && $ROADWORTHY_COMMENT_TOKEN", "when": "always"}]
    if job.when == "schedule":
        return [{"if": f'{branch} && $ROADWORTHY_TASK == "monitor"'}]
    if job.when == "manual":
        started = '$CI_PIPELINE_SOURCE == "web" && $ROADWORTHY_TASK == "rollback"'
        return [{"if": f"{branch} && {started}"}]
    release = f"{branch} && $CI_PIPELINE_SOURCE =~ /^(push|web)$/ && $ROADWORTHY_TASK == null"
    return [{"if": release, **({"when": "manual"} if job.approved else {})}]


def _needs(job: Job, made: tuple[Job, ...]) -> list[dict[str, Any]]:
    makers = {kept.name: each.name for each in made for kept in each.keeps}
    taken = [makers[name] for name in job.takes if name in makers]
    names = dict.fromkeys([*job.needs, *taken])
    return [{"job": _PREFIX + name, "artifacts": name in taken} for name in names]


def _deployment(job: Job, options: PipelineSection) -> dict[str, Any]:
    name = job.environment or "$DESTINATION"
    body: dict[str, Any] = {"environment": {"name": name}}
    if job.destination:
        body["environment"]["deployment_tier"] = name
    body["resource_group"] = f"{name}-$TARGET" if len(options.targets) > 1 else name
    if len(options.targets) > 1:
        entries = [
            {"TARGET": target, "SERVICE_URL": f"${service_variable(target, options)}"}
            for target in options.targets
        ]
        body["parallel"] = {"matrix": entries}
    return body


def _variables(job: Job, options: PipelineSection) -> dict[str, str]:
    variables = dict(job.variables)
    if job.targeted and len(options.targets) == 1:
        variables["TARGET"] = options.targets[0]
    if job.signs_in:
        variables |= token_variables(options.clouds, _TOKENS)
    if job.writes_packages:
        variables |= {
            "IMAGE": f"{options.image or '$CI_REGISTRY_IMAGE'}:$CI_COMMIT_SHA",
            "DOCKER_HOST": "tcp://docker:2376",
            "DOCKER_TLS_CERTDIR": "/certs",
            "DOCKER_TLS_VERIFY": "1",
            "DOCKER_CERT_PATH": "/certs/client",
        }
    return variables


def _bundle_cache(project: Project) -> dict[str, Any]:
    table = project.data.path or ""
    files = ["roadworthy.toml"] if "://" in table else [table, "roadworthy.toml"]
    folder = project.package.directory
    return {"key": {"files": files, "prefix": "trained"}, "paths": [f"{folder}/"]}


def _script(job: Job, options: PipelineSection) -> list[str]:
    lines = []
    if job.signs_in:
        tokens: dict[str, str] = {cloud: f"${cloud.upper()}_ID_TOKEN" for cloud in options.clouds}
        lines += token_lines(tokens, _TOKENS)
    if job.writes_packages:
        lines.append(_brings("docker", "docker.io"))
    if job.writes_packages or job.reads_packages:
        registry = image_registry(options)
        own = registry is None
        user = "$CI_REGISTRY_USER" if own else "$REGISTRY_USERNAME"
        password = "$CI_REGISTRY_PASSWORD" if own else "$REGISTRY_PASSWORD"
        place = registry or '"$CI_REGISTRY"'
        lines.append(
            f'printf \'%s\' "{password}" | docker login --username "{user}" '
            f"--password-stdin {place}"
        )
    if job.name == "comment":
        notes = "$CI_API_V4_URL/projects/$CI_PROJECT_ID/merge_requests/$CI_MERGE_REQUEST_IID/notes"
        lines.append(
            "printf 'PRIVATE-TOKEN: %s' \"$ROADWORTHY_COMMENT_TOKEN\" | curl --fail --silent "
            f'--show-error --header @- --data-urlencode "body@{VERDICT}" "{notes}"'
        )
    if job.name == "challenger":
        lines += [
            _brings("git", "git"),
            "git config user.name roadworthy && git config user.email roadworthy@noreply.invalid",
            "git switch --quiet --create roadworthy/challenger",
        ]
    lines += [command.line for command in job.commands]
    if job.name == "challenger":
        lines.append(
            'git diff --quiet "$CI_COMMIT_SHA" HEAD || git push --quiet --force origin '
            "roadworthy/challenger -o merge_request.create "
            f"-o merge_request.target={options.branch}"
        )
    return lines


def _brings(program: str, package: str) -> str:
    return (
        f"command -v {program} > /dev/null || {{ apt-get update -qq "
        f"&& apt-get install -y -qq --no-install-recommends {package}; }}"
    )


def _artifacts(job: Job, options: PipelineSection) -> dict[str, Any]:
    artifacts: dict[str, Any] = {
        "paths": [path for kept in job.keeps for path in kept.paths],
        "expire_in": f"{options.keep_days} days",
    }
    if any(kept.always for kept in job.keeps):
        artifacts["when"] = "always"
    if job.junit:
        artifacts["reports"] = {"junit": job.junit}
        artifacts["expose_as"] = "report"
        artifacts["paths"] = [path for path in artifacts["paths"] if path != job.junit]
    return artifacts

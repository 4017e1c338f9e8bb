"""GitHub Actions: one workflow for changes and releases, one to monitor, one to roll back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from roadworthy.pipeline.parts import Part, Plan
from roadworthy.pipeline.pins import pinned
from roadworthy.pipeline.rules import Finding
from roadworthy.pipeline.rules.github import inspect
from roadworthy.pipeline.stages import VERDICT, Command, Event, Job, jobs
from roadworthy.pipeline.systems._base import about, image_registry, installing, service_variable
from roadworthy.pipeline.yaml_text import Noted, emit
from roadworthy.project import PipelineSection, Project

_ACTION = ".github/actions/roadworthy"
_MAIN = ".github/workflows/roadworthy.yml"
_MONITOR = ".github/workflows/roadworthy-monitor.yml"
_ROLLBACK = ".github/workflows/roadworthy-rollback.yml"
_REGISTRY = "ghcr.io"
_SAME_REPOSITORY = "github.event.pull_request.head.repo.full_name == github.repository"


class GitHub:
    """GitHub Actions."""

    name = "github"
    title = "GitHub Actions"

    def plan(self, project: Project) -> tuple[Plan, ...]:
        """The action that sets up and the workflows."""
        options = project.pipeline
        made = jobs(project, self.name)
        setup = Part("setup", emit(_setup(options)))
        plans = [Plan(f"{_ACTION}/action.yml", "#", about(self.name), (setup,))]
        workflows: list[tuple[str, str, dict[str, Any], set[Event]]] = [
            (_MAIN, "Roadworthy", _on_changes(options), {"change", "request", "release"}),
            (_MONITOR, "Roadworthy monitoring", _on_schedule(options), {"schedule"}),
            (_ROLLBACK, "Roadworthy rollback", _on_demand(), {"manual"}),
        ]
        for path, title, triggers, events in workflows:
            held = [job for job in made if job.when in events]
            if held:
                parts = [Part("workflow", _top(title, triggers, path == _MAIN))]
                parts += [Part(job.name, emit({job.name: _job(job, project)}, 1)) for job in held]
                plans.append(Plan(path, "#", about(self.name), tuple(parts)))
        return tuple(plans)

    def inspect(self, path: str, text: str, options: PipelineSection) -> list[Finding]:
        """What the rules have to say about a workflow or an action."""
        return inspect(path, text)


def _setup(options: PipelineSection) -> dict[str, Any]:
    packages = "hashFiles('requirements*.txt', 'uv.lock', 'pyproject.toml')"
    return {
        "name": "Set up Roadworthy",
        "description": "Python, Roadworthy and what the project needs",
        "runs": {
            "using": "composite",
            "steps": [
                _uses("actions/setup-python", {"python-version": options.python}),
                _uses(
                    "actions/cache",
                    {
                        "path": "~/.cache/pip",
                        "key": f"pip-${{{{ runner.os }}}}-{options.python}-${{{{ {packages} }}}}",
                    },
                ),
                {
                    "name": "Install",
                    "shell": "bash",
                    "run": "\n".join(installing(options)),
                },
            ],
        },
    }


def _on_changes(options: PipelineSection) -> dict[str, Any]:
    triggers: dict[str, Any] = {
        "push": {"branches": [options.branch]},
        "pull_request": {"branches": [options.branch]},
        "workflow_dispatch": {},
    }
    if options.nightly is not None:
        triggers["schedule"] = [{"cron": options.nightly}]
    return triggers


def _on_schedule(options: PipelineSection) -> dict[str, Any]:
    return {"schedule": [{"cron": options.monitoring}], "workflow_dispatch": {}}


def _on_demand() -> dict[str, Any]:
    choice = {
        "description": "Where to put the version before back",
        "type": "choice",
        "required": True,
        "options": ["staging", "production"],
    }
    return {"workflow_dispatch": {"inputs": {"destination": choice}}}


def _top(title: str, triggers: dict[str, Any], cancels: bool) -> str:
    started_by_request = "${{ github.event_name == 'pull_request' }}"
    top = {
        "name": title,
        "on": triggers,
        "permissions": {},
        "concurrency": {
            "group": "${{ github.workflow }}-${{ github.ref }}",
            "cancel-in-progress": started_by_request if cancels else False,
        },
        "defaults": {"run": {"shell": "bash"}},
    }
    return emit(top) + "jobs:\n"


def _job(job: Job, project: Project) -> dict[str, Any]:
    options = project.pipeline
    made: dict[str, Any] = {"name": job.title}
    if job.needs:
        made["needs"] = list(job.needs)
    condition = _condition(job, options)
    if condition:
        made["if"] = condition
    made |= {"runs-on": options.github_runner, "timeout-minutes": job.minutes}
    made["permissions"] = _permissions(job, options)
    many = job.targeted and len(options.targets) > 1
    if many:
        entries = [
            {"target": target, "address": service_variable(target, options)}
            for target in options.targets
        ]
        made["strategy"] = {"fail-fast": False, "matrix": {"include": entries}}
    environment = "${{ inputs.destination }}" if job.destination == "" else job.environment
    if environment:
        made["environment"] = environment
    if job.targeted:
        place = "${{ matrix.target }}" if many else options.targets[0]
        made["concurrency"] = {
            "group": f"deploy-{environment}-{place}",
            "cancel-in-progress": False,
        }
    variables = _variables(job, options, many)
    if variables:
        made["env"] = variables
    made["steps"] = list(_steps(job, project))
    return made


def _condition(job: Job, options: PipelineSection) -> str | None:
    if job.when == "request":
        return (
            f"${{{{ !cancelled() && needs.{job.needs[0]}.result != 'skipped' "
            f"&& github.event_name == 'pull_request' && {_SAME_REPOSITORY} }}}}"
        )
    if job.when == "release":
        event = "(github.event_name == 'push' || github.event_name == 'workflow_dispatch')"
        return f"${{{{ {event} && github.ref == 'refs/heads/{options.branch}' }}}}"
    if job.when in ("schedule", "manual"):
        return f"${{{{ github.ref == 'refs/heads/{options.branch}' }}}}"
    return None


def _permissions(job: Job, options: PipelineSection) -> dict[str, Any]:
    given: dict[str, Any] = {"contents": "read"} if job.sets_up else {}
    if job.name == "challenger":
        given["contents"] = Noted("write", "the branch of the challenger")
    if job.when == "request" or job.name == "challenger":
        given["pull-requests"] = Noted("write", "what it says to people")
    if job.signs_in and options.clouds:
        given["id-token"] = Noted("write", "signs in to clouds with no stored key")
    if job.writes_packages:
        given["packages"] = Noted("write", "pushes the image")
    elif job.reads_packages:
        given["packages"] = "read"
    return given


def _variables(job: Job, options: PipelineSection, many: bool) -> dict[str, str]:
    variables = dict(job.variables)
    if job.targeted:
        variables["TARGET"] = "${{ matrix.target }}" if many else options.targets[0]
    if job.targeted and job.destination:
        name = "vars[matrix.address]" if many else "vars.SERVICE_URL"
        variables["SERVICE_URL"] = f"${{{{ {name} }}}}"
    if job.writes_packages:
        image = options.image or f"{_REGISTRY}/${{{{ github.repository }}}}"
        variables["IMAGE"] = f"{image}:${{{{ github.sha }}}}"
    if job.destination == "":
        variables["DESTINATION"] = "${{ inputs.destination }}"
    return variables


def _uses(action: str, options: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {**more, "uses": pinned(action), **({"with": options} if options else {})}


def _steps(job: Job, project: Project) -> Iterable[dict[str, Any]]:
    options = project.pipeline
    if job.sets_up:
        # only the job that pushes a branch keeps the token in the work tree
        keeps_token = job.name == "challenger"
        yield _uses("actions/checkout", {"persist-credentials": keeps_token})
        yield {"name": "Set up", "uses": f"./{_ACTION}"}
    if job.caches:
        yield _cache(project)
    for name in job.takes:
        yield _uses("actions/download-artifact", {"name": name, "path": _folder(name, project)})
    if job.signs_in:
        yield from (_sign_in(cloud) for cloud in options.clouds)
    if job.writes_packages or job.reads_packages:
        yield _log_in(options)
    if job.name == "comment":
        yield _comment()
    if job.name == "challenger":
        yield _identity()
    yield from (_run(command) for command in job.commands)
    if job.name == "challenger":
        yield _offer(options)
    if any(VERDICT in kept.paths for kept in job.keeps):
        yield _summary(VERDICT)
    if any("plan.txt" in kept.paths for kept in job.keeps):
        yield _summary("plan.txt")
    yield from (_keep(job, number, options) for number in range(len(job.keeps)))


def _folder(artifact: str, project: Project) -> str:
    return project.package.directory if artifact == "bundles" else "."


def _run(command: Command) -> dict[str, Any]:
    step: dict[str, Any] = {"name": command.title}
    if command.secrets:
        step["env"] = {name: f"${{{{ secrets.{name} }}}}" for name in command.secrets}
    return {**step, "run": command.line}


def _cache(project: Project) -> dict[str, Any]:
    files = (project.data.path or "", "roadworthy.toml", "pyproject.toml", *project.pipeline.code)
    kept = (name for name in files if "://" not in name)  # an address is no file
    listed = ", ".join("'" + name.replace("'", "''") + "'" for name in kept)
    return _uses(
        "actions/cache",
        {
            "path": project.package.directory,
            "key": f"trained-${{{{ runner.os }}}}-${{{{ hashFiles({listed}) }}}}",
        },
        name="Take up what was trained before",
    )


def _sign_in(cloud: str) -> dict[str, Any]:
    actions = {
        "aws": "aws-actions/configure-aws-credentials",
        "azure": "Azure/login",
        "gcp": "google-github-actions/auth",
    }
    inputs = {
        "aws": {"role-to-assume": "AWS_ROLE_ARN", "aws-region": "AWS_REGION"},
        "azure": {
            "client-id": "AZURE_CLIENT_ID",
            "tenant-id": "AZURE_TENANT_ID",
            "subscription-id": "AZURE_SUBSCRIPTION_ID",
        },
        "gcp": {
            "workload_identity_provider": "GCP_IDENTITY_PROVIDER",
            "service_account": "GCP_SERVICE_ACCOUNT",
        },
    }
    values = {key: f"${{{{ vars.{name} }}}}" for key, name in inputs[cloud].items()}
    return _uses(actions[cloud], values)


def _log_in(options: PipelineSection) -> dict[str, Any]:
    registry = image_registry(options) or _REGISTRY
    own = registry == _REGISTRY
    return _uses(
        "docker/login-action",
        {
            "registry": registry,
            "username": "${{ github.actor }}" if own else "${{ secrets.REGISTRY_USERNAME }}",
            "password": "${{ github.token }}" if own else "${{ secrets.REGISTRY_PASSWORD }}",
        },
    )


def _comment() -> dict[str, Any]:
    return {
        "name": "Say it on the pull request",
        "env": {
            "GH_TOKEN": "${{ github.token }}",
            "NUMBER": "${{ github.event.pull_request.number }}",
        },
        "run": 'gh pr comment "$NUMBER" --repo "$GITHUB_REPOSITORY" '
        f"--edit-last --create-if-none --body-file {VERDICT}",
    }


def _identity() -> dict[str, Any]:
    return {
        "name": "A branch of its own",
        "run": "git config user.name roadworthy\n"
        "git config user.email roadworthy@users.noreply.github.com\n"
        "git switch --quiet --create roadworthy/challenger\n",
    }


def _offer(options: PipelineSection) -> dict[str, Any]:
    return {
        "name": "Open a pull request",
        "env": {"GH_TOKEN": "${{ github.token }}"},
        "run": f"if git diff --quiet HEAD origin/{options.branch}; then exit 0; fi\n"
        "git push --quiet --force origin roadworthy/challenger\n"
        "gh pr view roadworthy/challenger --json state --jq .state | grep -q OPEN \\\n"
        f"  || gh pr create --base {options.branch} --head roadworthy/challenger \\\n"
        '    --title "A challenger" --body-file advice.txt\n',
    }


def _summary(file: str) -> dict[str, Any]:
    return {
        "name": "Show it on the run's page",
        "if": f"${{{{ !cancelled() && hashFiles('{file}') != '' }}}}",
        "run": f'cat {file} >> "$GITHUB_STEP_SUMMARY"',
    }


def _keep(job: Job, number: int, options: PipelineSection) -> dict[str, Any]:
    kept = job.keeps[number]
    many = job.targeted and len(options.targets) > 1
    step: dict[str, Any] = {"name": "Keep"}
    if kept.always:
        step["if"] = "${{ !cancelled() }}"
    return _uses(
        "actions/upload-artifact",
        {
            "name": kept.name + ("-${{ matrix.target }}" if many else ""),
            "path": "".join(f"{path}\n" for path in kept.paths)
            if len(kept.paths) > 1
            else kept.paths[0],
            "if-no-files-found": "warn" if kept.always else "error",
            "retention-days": options.keep_days,
        },
        **step,
    )

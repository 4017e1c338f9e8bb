"""Deploy, ask the service at the address that callers use, and go back when it is not right."""

from __future__ import annotations

from roadworthy.acceptance import accept
from roadworthy.acceptance.subject import OverHttp
from roadworthy.deploy import deploying
from roadworthy.deploy.deploying import Watch
from roadworthy.deploy.plan import Plan
from roadworthy.errors import CheckFailed, RoadworthyError
from roadworthy.project import Project


def apply_and_ask(
    project: Project,
    name: str,
    model: str | None,
    url: str,
    *,
    watch: Watch | None = None,
) -> Plan:
    """`deploying.apply`, then golden rows and gates at an address; else the release before again.

    Only what this call changed is taken back: where the release served already, an address that
    does not answer says nothing against it.

    Args:
        project: The project, with `[deploy.NAME]`.
        name: The deployment.
        model: What to deploy; None takes its `model`, or the newest bundle.
        url: The address that callers use.
        watch: Told of every step.

    Returns:
        The plan that was carried out.

    Raises:
        InputError: As `apply`, or the address is none; nothing was changed.
        CheckFailed: As `apply`; or the service is not right there, and what served before serves
            again, if there was anything.
        OutsideError: As `apply`.
    """
    OverHttp(url)
    bundle = deploying.bundle_of(project, name, model)
    before = deploying.serving(project, name)
    done = deploying.apply(project, name, model, watch=watch)
    try:
        verdict = accept(bundle, None, project, url=url)
    except RoadworthyError as error:
        wrong = str(error)
    else:
        if verdict.passed:
            return done
        wrong = "; ".join(f"{each.name}: {each.reason}" for each in verdict.stopping())
    now = deploying.serving(project, name)
    if before == now:
        kept = f"release {now} served before this, so it was left"
    elif before is None:
        kept = f"release {now} is the first there, so it was left: nothing served before it"
    else:
        deploying.rollback(project, name, before, watch=watch)
        kept = f"release {before} serves again"
    raise CheckFailed(f"the service is not as it should be: {wrong}; {kept}", where=url)

"""Rules for Jenkinsfiles."""

from __future__ import annotations

import difflib
import re

from roadworthy.pipeline.rules._base import Finding, Findings
from roadworthy.pipeline.rules.groovy_tree import Block, Token, read_groovy
from roadworthy.pipeline.rules.jenkins_words import SECTIONS, STEPS
from roadworthy.pipeline.rules.secrets import inspect_text, inspect_value
from roadworthy.pipeline.rules.shell import inspect_shell
from roadworthy.pipeline.rules.times import is_cron

_SECRET = re.compile(r"\$\{?[\w.]*(TOKEN|SECRET|PASSWORD|PASSPHRASE|_KEY|CREDENTIALS)\w*")
_THEIRS = re.compile(r"\$\{?\s*(params\.|env\.(CHANGE_|BRANCH_NAME|TAG_NAME)|CHANGE_|BRANCH_NAME)")
_DEPLOYS = re.compile(r"\broadworthy\s+deploy\s+(apply|rollback|destroy)\b")
_GATES = re.compile(r"\broadworthy\s+(test|deploy|models\s+verify|image\s+(test|scan))\b")
_UNSAFE = re.compile(r"@Grab\b|\bJenkins\.(instance|get)\b|\.execute\(\)|\bevaluate\s*\(")
_UNITS = ("NANOSECONDS", "MICROSECONDS", "MILLISECONDS", "SECONDS", "MINUTES", "HOURS", "DAYS")


def inspect(path: str, text: str) -> list[Finding]:
    """What the rules say of a Jenkinsfile.

    Args:
        path: The file, for messages.
        text: Its content.

    Returns:
        Findings in the order of lines.
    """
    found = Findings(path)
    inspect_text(text, found)
    root = read_groovy(text, found)
    for number, line in enumerate(text.split("\n"), 1):
        if _UNSAFE.search(line.partition("//")[0]):
            what = "this leaves the sandbox"
            found.add("sandbox", number, what, "a step, or a shared library that is reviewed")
    pipeline = root.child("pipeline")
    if pipeline is None:
        found.add("groovy", 1, "there is no pipeline { }", "a declarative pipeline")
        return found.sorted()
    for block in root.children:
        if block.name.startswith("@Library") and not all("@" in s.value for s in block.strings):
            what = "the library may be changed by others at any time"
            found.add("pin", block.line, what, "@Library('name@1.2.3')")
    _options(pipeline, found)
    stashed = {
        token.value
        for block in pipeline.walk()
        if block.name == "stash" and (token := block.named("name") or _first(block))
    }
    for block in pipeline.walk():
        _block(block, stashed, found)
    _stages(pipeline, found)
    return found.sorted()


def _first(block: Block) -> Token | None:
    return block.strings[0] if block.strings else None


def _options(pipeline: Block, found: Findings) -> None:
    options = pipeline.child("options")
    held = {child.name for child in options.children} if options else set()
    wanted = {
        "timeout": ("timeout", "a run may go on for ever", "timeout(time: 2, unit: 'HOURS')"),
        "buildDiscarder": ("retention", "old runs are kept for ever", "buildDiscarder(…)"),
        "disableConcurrentBuilds": (
            "concurrency", "two runs of a branch may go on at once", "disableConcurrentBuilds()"
        ),
    }  # fmt: skip
    for name, (rule, what, fix) in wanted.items():
        if name not in held:
            found.add(rule, (options or pipeline).line, what, fix)


def _block(block: Block, stashed: set[str], found: Findings) -> None:
    name = block.name
    _misspelt(block, found)
    if name == "sh":
        _shell(block, found)
    elif name == "timeout":
        _timeout(block, found)
    elif name == "unstash" and (token := _first(block)) and token.value not in stashed:
        found.add("stash", block.line, f"nothing stashes {token.value!r}", "stash it before")
    elif name == "cron" and (tokens := block.strings):
        for token in tokens:
            if " " in token.value and not is_cron(token.value, hashed=True):
                found.add("schedule", token.line, f"{token.value!r} is no schedule", "five fields")
    elif name == "agent" and any(token.text == "any" for token in block.head):
        found.add("runner", block.line, "any machine may run this", "agent { label 'linux' }")
    elif name == "image" and block.parent and block.parent.name == "docker":
        _image(block, found)
    elif name == "environment" and block.braces:
        _environment(block, found)
    elif name in ("catchError", "warnError") and _holds(block, _GATES):
        what = "the run goes on when a gate fails"
        found.add("swallowed-failure", block.line, what, f"take {name} away")
    elif name == "retry" and _holds(block, _DEPLOYS):
        found.add("repeated-deploy", block.line, "a deployment is repeated blindly", "run it once")
    elif name == "archiveArtifacts" and any(
        token.value in ("**", "**/*", "*", ".") for token in block.strings
    ):
        found.add("artifact-scope", block.line, "the whole workspace is archived", "name the files")


def _misspelt(block: Block, found: Findings) -> None:
    name = block.name
    inside = block.parent.name if block.parent else ""
    known = SECTIONS.get(inside)
    if known is not None and name and name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        what = f"{name} is nothing that {inside} may hold"
        found.add("section", block.line, what, f"did you mean {near[0]}?" if near else "move it")
        return
    if known is None and name and name not in STEPS and "=" not in [t.text for t in block.head]:
        near = difflib.get_close_matches(name, STEPS, n=1, cutoff=0.75)
        if near and len(block.head) > 1:
            found.add("step", block.line, f"{name} is no step", f"did you mean {near[0]}?")
    allowed = STEPS.get(name)
    if allowed:
        for token in block.arguments():
            if token.text not in allowed:
                near = difflib.get_close_matches(token.text, allowed, n=1, cutoff=0.5)
                fix = f"did you mean {near[0]}?" if near else f"one of: {', '.join(allowed)}"
                found.add("step", token.line, f"{name} takes no {token.text!r}", fix)


def _shell(block: Block, found: Findings) -> None:
    for token in block.strings:
        text = token.value
        inspect_shell(text, token.line, found, piping_hides=True)
        if token.replaces and _SECRET.search(text):
            what = "Groovy writes a secret into the script"
            found.add("secret-argument", token.line, what, "single quotes: the shell knows it")
        if token.replaces and _THEIRS.search(text):
            what = "text that others choose becomes part of a script"
            found.add("injection", token.line, what, "single quotes, and a variable")
        if _GATES.search(text) and block.named("returnStatus"):
            what = "the run goes on when a gate fails"
            found.add("swallowed-failure", block.line, what, "take returnStatus away")


def _timeout(block: Block, found: Findings) -> None:
    time, unit = block.named("time"), block.named("unit")
    good = time is not None and time.text.isdigit() and int(time.text) > 0
    if not good or (unit is not None and (unit.kind != "string" or unit.value not in _UNITS)):
        found.add(
            "timeout", block.line, "this is no duration", "timeout(time: 20, unit: 'MINUTES')"
        )


def _image(block: Block, found: Findings) -> None:
    for token in block.strings:
        tag = token.value.rpartition("/")[2].partition(":")[2]
        if "@sha256:" not in token.value and tag in ("", "latest", "stable"):
            what = f"{token.value} is another image tomorrow"
            found.add("pin", token.line, what, "name a version or a digest")


def _environment(block: Block, found: Findings) -> None:
    for entry in block.children:
        if len(entry.head) < 3 or entry.head[1].text != "=":
            continue
        value = entry.head[2]
        if value.kind == "string":
            inspect_value(entry.name, value.value, entry.line, found)
        elif value.text == "credentials" and block.parent and block.parent.name == "pipeline":
            what = f"{entry.name} is shown to every stage"
            found.add("secrets-scope", entry.line, what, "withCredentials around the one step")


def _holds(block: Block, shape: re.Pattern[str]) -> bool:
    return any(
        shape.search(token.value)
        for inner in block.walk()
        if inner.name == "sh"
        for token in inner.strings
    )


def _stages(pipeline: Block, found: Findings) -> None:
    names: set[str] = set()
    approved = False
    for stage in pipeline.walk():
        if stage.name != "stage":
            continue
        title = stage.strings[0].value if stage.strings else ""
        if title in names:
            found.add("twice", stage.line, f"two stages are called {title!r}", "rename one")
        names.add(title)
        held = {child.name for child in stage.children}
        if not held & {"steps", "stages", "parallel", "matrix"}:
            found.add("section", stage.line, f"stage {title!r} does nothing", "steps { … }")
        asked = stage.child("input")
        if asked is not None:
            approved = True
            _asked(stage, asked, found)
        steps = stage.child("steps")
        if steps is not None and _holds(steps, _DEPLOYS):
            _deployment(stage, title, approved, found)


def _asked(stage: Block, asked: Block, found: Findings) -> None:
    agent = stage.child("agent")
    if agent is not None and not any(token.text == "none" for token in agent.head):
        what = "an agent waits while nobody answers"
        found.add("approval", asked.line, what, "a stage of its own, without an agent")
    if asked.child("submitter") is None and asked.named("submitter") is None:
        found.add("approval", asked.line, "anybody may approve", "submitter 'release'")


def _deployment(stage: Block, title: str, approved: bool, found: Findings) -> None:
    around = [stage, *stage.within()]
    branch = any(
        inner.name in ("branch", "tag", "buildingTag")
        for each in around
        if (when := each.child("when"))
        for inner in when.walk()
    )
    asked = any(each.child("parameters") for each in around)
    if not branch and not asked:
        what = f"stage {title!r} deploys what is not merged"
        found.add("fork-secrets", stage.line, what, "when { branch 'main' }")
    if not any(inner.name == "lock" for inner in stage.walk()):
        what = f"stage {title!r} may deploy while another run does"
        found.add("concurrency", stage.line, what, "lock(resource: 'deploy-production')")
    if _holds(stage, re.compile(r"deploy\s+apply\b.*\bproduction\b")) and not approved:
        what = f"stage {title!r} deploys to production and asks nobody"
        found.add("approval", stage.line, what, "a stage before it with input { … }")

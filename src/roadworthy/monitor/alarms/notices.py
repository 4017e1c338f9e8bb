"""Notices that we send ourselves, by webhook and by mail: once an alarm, not once a look.

What is open lies in a file that is locked while it is used. A finding opens when it was there twice
in a row (a serious one at once), and is over when it was gone three times in a row; meanwhile it is
told again only after `repeat_hours`. What one way could not deliver lies beside the state, for that
way alone, and goes out with the next look.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import smtplib
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from email.message import EmailMessage
from pathlib import Path
from typing import IO, Literal

import msgspec

from roadworthy.errors import InputError, OutsideError
from roadworthy.monitor.alarms._base import alarm_of, link_of
from roadworthy.monitor.findings import Finding
from roadworthy.project.monitor import QualityKeys

_OPENS_AFTER, _ENDS_AFTER = 2, 3
_SECONDS = 10.0
_MOST_OWED = 200
"""Notices that are kept for a way that is away; the oldest are let go."""
PASSWORD = "ROADWORTHY_SMTP_PASSWORD"


class OpenAlarm(msgspec.Struct, kw_only=True):
    """What is remembered of a finding.

    Attributes:
        seen: Looks in a row that found it.
        gone: Looks in a row that did not, after it opened.
        told: When it was told last, seconds since 1970; 0 for not yet.
        since: When it was seen first.
        what: What it said last.
        severity: And how grave it was.
    """

    seen: int = 0
    gone: int = 0
    told: float = 0.0
    since: float = 0.0
    what: str = ""
    severity: str = "warning"


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """What is sent.

    Attributes:
        state: `open`, `open_still` (told again) or `over`.
        key: `kind: subject`, the same from opening to end.
        model: The model.
        severity: How grave.
        what: In a sentence.
        since: When it began, seconds since 1970.
        fix: What to do.
        link: Where it says what to do.
    """

    state: Literal["open", "open_still", "over"]
    key: str
    model: str
    severity: str
    what: str
    since: float
    fix: str = ""
    link: str = ""


Send = Callable[[Sequence[Notice]], None]


def tell(
    findings: Sequence[Finding],
    model: str,
    options: QualityKeys,
    *,
    sends: Mapping[str, Send] | None = None,
    now: float | None = None,
) -> list[Notice]:
    """Take note of findings, and send what is new, over or due again.

    Args:
        findings: What was found at this look; `info` is not told, nor what an alarm that is off
            rings for.
        model: The model.
        options: `[monitor]`.
        sends: Ways to send, by name; None takes those that the options name.
        now: Seconds since 1970.

    Returns:
        What is new, over or due again.

    Raises:
        InputError: The state file is none.
        OutsideError: A way could not deliver or the state not be kept; the next look tries again.
    """
    moment = time.time() if now is None else now
    ways = ways_to_send(options) if sends is None else sends
    path = Path(options.alarm_state)
    with locked(path) as file:
        whole = _read(file, options.alarm_state)
        state = whole.setdefault(model, {})
        notices = _step(state, findings, model, options, moment)
        failures = _send(path.with_name(f"{path.name}.owed"), ways, notices)
        _write(path, whole)
    if failures:
        raise failures[0]
    return notices


def _send(owed: Path, ways: Mapping[str, Send], notices: Sequence[Notice]) -> list[OutsideError]:
    """Send by every way what is new and what it owes; returns what failed.

    Who dies in the middle sends again: a notice may come twice, never not at all.
    """
    failures = []
    waiting = _read_owed(owed)
    left: dict[str, list[Notice]] = {}
    for name, send in ways.items():
        its = [*waiting.get(name, ()), *notices][-_MOST_OWED:]
        try:
            if its:
                send(its)
        except OutsideError as error:
            left[name] = its
            failures.append(error)
    if left:
        replace_file(owed, msgspec.json.encode(left))
    elif waiting:
        owed.unlink()
    return failures


def _read_owed(path: Path) -> dict[str, list[Notice]]:
    if not path.exists():
        return {}
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, list[Notice]])
    except msgspec.DecodeError:
        raise InputError(
            "what could not be delivered is damaged", where=str(path), fix="delete the file"
        ) from None


def _step(
    state: dict[str, OpenAlarm],
    findings: Sequence[Finding],
    model: str,
    options: QualityKeys,
    now: float,
) -> list[Notice]:
    notices = []
    off = {name for name, said in options.alarms.items() if not said.on}
    told = (f for f in findings if f.severity != "info" and alarm_of(f.kind) not in off)
    found = {f"{f.kind}: {f.subject}": f for f in told}
    for key, finding in sorted(found.items()):
        entry = state.setdefault(key, OpenAlarm(since=now))
        entry.seen, entry.gone = entry.seen + 1, 0
        worse = finding.severity == "serious" and entry.severity != "serious" and entry.told > 0
        entry.what, entry.severity = finding.what, finding.severity
        due = entry.told and (now - entry.told >= options.repeat_hours * 3600 or worse)
        opens = not entry.told and (entry.seen >= _OPENS_AFTER or finding.severity == "serious")
        if opens or due:
            entry.told = now
            notices.append(
                Notice(
                    state="open" if opens else "open_still", key=key, model=model,
                    severity=finding.severity, what=finding.what, since=entry.since,
                    fix=finding.fix, link=link_of(finding.kind, options.runbook),
                )
            )  # fmt: skip
    for key in sorted(set(state) - set(found)):
        entry = state[key]
        entry.gone += 1
        if not entry.told:
            del state[key]  # it was there once: chance
        elif entry.gone >= _ENDS_AFTER:
            del state[key]
            notices.append(
                Notice(
                    state="over", key=key, model=model, severity=entry.severity, what=entry.what,
                    since=entry.since,
                )
            )  # fmt: skip
    return notices


def open_alarms(options: QualityKeys, model: str) -> tuple[tuple[str, OpenAlarm], ...]:
    """Alarms of a model that were told and are not over, by `kind: subject`.

    Raises:
        InputError: The state file is none.
        OutsideError: It cannot be read.
    """
    path = Path(options.alarm_state)
    if not path.exists():
        return ()
    with locked(path) as file:
        state = _read(file, options.alarm_state).get(model, {})
    return tuple((key, entry) for key, entry in sorted(state.items()) if entry.told)


def ways_to_send(options: QualityKeys) -> dict[str, Send]:
    """The ways that `[monitor]` names, by its key.

    Raises:
        InputError: A variable that should hold the address is not set.
    """
    ways: dict[str, Send] = {}
    if options.webhook is not None:
        address = options.webhook
        if address.startswith("env:"):
            address = os.environ.get(address[4:], "")
            if not address.startswith(("http://", "https://")):
                raise InputError(
                    f"the variable {options.webhook[4:]} holds no address",
                    where="[monitor] webhook",
                    fix="set it to https://…",
                )
        ways["webhook"] = lambda notices: post(address, notices)
    if options.smtp is not None:
        ways["smtp"] = lambda notices: mail(options, notices)
    return ways


def post(address: str, notices: Sequence[Notice]) -> None:
    """Post notices as one JSON document; `text` is what chat systems show.

    Raises:
        OutsideError: It was not taken. The address, which may be a secret, is not told.
    """
    lines = [f"[{n.state}] {n.severity}: {n.model}: {n.what}" for n in notices]
    content = {"text": "\n".join(lines), "notices": msgspec.to_builtins(list(notices))}
    request = urllib.request.Request(
        address,
        json.dumps(content).encode(),
        {"Content-Type": "application/json", "User-Agent": "roadworthy"},
        method="POST",
    )
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
            answer.read(1000)
    except urllib.error.HTTPError as error:
        raise _undelivered(f"the webhook answered {error.code}", "[monitor] webhook") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or type(error).__name__
        what = f"the webhook cannot be reached: {reason}"
        raise _undelivered(what, "[monitor] webhook") from None


def mail(options: QualityKeys, notices: Sequence[Notice]) -> None:
    """Mail notices, all in one message.

    Raises:
        OutsideError: The server did not take it.
    """
    message = EmailMessage()
    first = notices[0]
    more = f" (and {len(notices) - 1} more)" if len(notices) > 1 else ""
    message["Subject"] = _one_line(f"[{first.severity}] {first.model}: {first.what}{more}")
    message["From"], message["To"] = options.smtp_from, ", ".join(options.smtp_to)
    body = [
        f"{n.state.replace('_', ' ')}: {n.what}\n  what to do: {n.fix or '-'}\n  {n.link}"
        for n in notices
    ]
    message.set_content("\n\n".join(body) + "\n")
    host, _, port = str(options.smtp).rpartition(":")
    context = ssl.create_default_context()
    try:
        with contextlib.ExitStack() as stack:
            server: smtplib.SMTP
            if options.smtp_security == "tls":
                server = smtplib.SMTP_SSL(host, int(port), timeout=_SECONDS, context=context)
            else:
                server = smtplib.SMTP(host, int(port), timeout=_SECONDS)
            stack.enter_context(server)
            if options.smtp_security == "starttls":
                server.starttls(context=context)
            if options.smtp_user is not None:
                server.login(options.smtp_user, os.environ.get(PASSWORD, ""))
            server.send_message(message)
    except (OSError, smtplib.SMTPException) as error:
        what = f"the mail server did not take the notice: {type(error).__name__}"
        raise _undelivered(what, f"[monitor] smtp {options.smtp}") from None


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]


def _undelivered(what: str, where: str) -> OutsideError:
    return OutsideError(what, where=where, fix="it is tried again at the next look")


@contextlib.contextmanager
def locked(path: Path) -> Iterator[IO[bytes]]:
    """The state file, alone; a lock is let go by the system when a process dies."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_name(path.name + ".lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            path.touch()
            with path.open("rb") as file:
                yield file
    except OSError as error:
        raise OutsideError(
            f"the state of alarms cannot be kept: {error.strerror or error}", where=str(path)
        ) from None


def _read(file: IO[bytes], shown: str) -> dict[str, dict[str, OpenAlarm]]:
    content = file.read()
    try:
        kind = dict[str, dict[str, OpenAlarm]]
        return msgspec.json.decode(content, type=kind) if content else {}
    except msgspec.DecodeError as error:
        raise InputError(
            f"the state of alarms is damaged: {error}",
            where=shown,
            fix="delete the file; what is open will be told again",
        ) from None


def _write(path: Path, state: dict[str, dict[str, OpenAlarm]]) -> None:
    replace_file(path, msgspec.json.encode(state, order="sorted"))


def replace_file(path: Path, content: bytes) -> None:
    """Replace a file of JSON whole."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_bytes(msgspec.json.format(content, indent=2))
    draft.replace(path)

"""What a database's refusal means to who asked, and what can be done about it."""

from __future__ import annotations

import re

from roadworthy.errors import InputError, OutsideError, RoadworthyError
from roadworthy.table.database.address import Address
from roadworthy.table.database.statement import place

_WRITES = "only a query that reads is run, and this one writes"
_NO_ANSWER = "check the address and the network, then run the same again"
_LATER = "run the same again: nothing was written"
_FIXES = {
    "password": "PGPASSWORD or the password file (PGPASSFILE) tells the password, and "
    "ROADWORTHY_DATABASE_PASSWORD that of databases other than PostgreSQL",
    'database "': "check the address: postgresql://USER@HOST/DATABASE#TABLE",
    "unable to open": "check the file's rights",
    "permission denied": "ask who runs the database for the right to read it (GRANT SELECT)",
    "locked": "run again when nobody writes it",
    "SSL": "?sslmode=disable behind the address, if the network itself is safe",
}


def explain(error: BaseException, address: Address, query: str | None) -> RoadworthyError:
    """The error to raise for one of a driver.

    Args:
        error: The driver's.
        address: What was asked.
        query: The query that was sent; None where it was sent as a part of another.
    """
    told = _message(error, address)
    state = getattr(error, "sqlstate", None)
    fix = next((fix for word, fix in _FIXES.items() if word in told), None)
    if state is None and "readonly database" in told:
        state = "25006"
    if state == "25006" or "data-modifying" in told:
        return InputError(f"{_WRITES}: {told}", where=address.shown, fix="write one SELECT")
    if state is not None and state[:2] in ("42", "22", "3F", "0A", "25"):
        return InputError(told, where=_where(error, address, query), fix=fix)
    if type(error).__module__.startswith("sqlite3") and _is_of_query(told):
        return InputError(told, where=_near(told, address, query), fix=fix)
    if state in ("57P01", "57P02", "57P03") or _is_cut(told):
        what = "the connection was cut while the table was read"
        return OutsideError(f"{what}: {told}", where=address.shown, fix=_LATER)
    return OutsideError(
        f"the database cannot be read: {told}", where=address.shown, fix=fix or _NO_ANSWER
    )


def _message(error: BaseException, address: Address) -> str:
    diagnosis = getattr(error, "diag", None)
    primary = getattr(diagnosis, "message_primary", None)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if len(error.args) == 2 and isinstance(error.args[0], int):
        primary = str(error.args[1])  # drivers of MySQL: a number and words
    told = primary or (lines[0] if lines else type(error).__name__)
    hint = getattr(diagnosis, "message_hint", None)
    told = f"{told} ({hint})" if hint else told
    return address.without_secrets(told)[:300]


def _where(error: BaseException, address: Address, query: str | None) -> str:
    position = getattr(getattr(error, "diag", None), "statement_position", None)
    if query is None or position is None:
        return address.shown
    return f"{address.database}, {place(query, int(position) - 1)}"


def _near(told: str, address: Address, query: str | None) -> str:
    """The place that SQLite names by a word alone, where the word stands once."""
    found = re.search(r'near "(.+)": syntax error|no such (?:column|table|function): (\S+)', told)
    word = None if found is None else found[1] or found[2]
    if query is None or word is None:
        return address.shown if query is None else f"{address.database}, [data] query"
    spots = [spot.start() for spot in re.finditer(rf"(?<!\w){re.escape(word)}(?!\w)", query)]
    if len(spots) != 1:
        return f"{address.database}, [data] query, near {word!r}"
    return f"{address.database}, {place(query, spots[0])}"


def _is_of_query(told: str) -> bool:
    shapes = ("syntax error", "no such", "ambiguous", "misuse", "incomplete input", "unrecognized",
              "wrong number of arguments", "one statement", "bindings",
              "Could not decode")  # fmt: skip
    return any(shape in told for shape in shapes)


def _is_cut(told: str) -> bool:
    shapes = ("consuming input failed", "closed the connection", "connection is lost",
              "terminating", "SSL SYSCALL", "connection not open", "Lost connection")  # fmt: skip
    return any(shape in told for shape in shapes)

"""Connections to PostgreSQL: time limits, TLS, and what is found out about a dead one."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import URL

_LOCAL = (None, "", "localhost", "127.0.0.1", "::1")


def postgresql_engine(url: URL, **options: Any) -> Engine:
    """An engine for PostgreSQL; remote servers are asked for TLS, and dead ones are noticed.

    Args:
        url: Its address; a password comes from `PGPASSWORD` or the password file.
        options: Of SQLAlchemy's `create_engine`.
    """
    arguments: dict[str, Any] = {
        "connect_timeout": 10,
        "application_name": "roadworthy",
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
    }
    if url.host not in _LOCAL and not str(url.host).startswith("/") and "sslmode" not in url.query:
        arguments["sslmode"] = "require"
    said = {name: value for name, value in arguments.items() if name not in url.query}
    return create_engine(
        url.set(drivername="postgresql+psycopg"), connect_args=said, hide_parameters=True, **options
    )

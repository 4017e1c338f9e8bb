"""Tables of databases: PostgreSQL, SQLite, and others that SQLAlchemy has a driver for."""

from roadworthy.table.database.address import Address, is_database
from roadworthy.table.database.copying import copy_table

__all__ = ["Address", "copy_table", "is_database"]

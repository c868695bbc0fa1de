"""All rows of all tables, read past the application: by a connection of its own, as somebody with a copy would."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flask import Flask
from sqlalchemy import URL, MetaData, NullPool, create_engine

from app.extensions import db

#: By the names of its columns.
Row = dict[str, Any]


def all_rows(database: URL | str, without: Iterable[str] = ()) -> dict[str, list[Row]]:
    """The rows of each table, sorted, so that two readings can be compared."""
    engine = create_engine(database, poolclass=NullPool)
    tables = MetaData()
    with engine.connect() as connection:
        tables.reflect(connection)
        return {
            name: sorted(map(dict, connection.execute(table.select()).mappings()), key=repr)
            for name, table in tables.tables.items()
            if name not in without
        }


def rows_of(app: Flask, without: Iterable[str] = ()) -> dict[str, list[Row]]:
    """The rows of the application's database."""
    with app.app_context():
        url = db.engine.url
    return all_rows(url, without)


def count(app: Flask, table: str) -> int:
    """How many rows ``table`` has, of all tenants."""
    return len(rows_of(app)[table])

"""What every application compiles, kept for all applications of the process: each test makes its own.

Nothing here knows a tenant, a setting or a database: the same source gives the same code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask
from jinja2.bccache import Bucket, BytecodeCache
from sqlalchemy import Engine
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.util import LRUCache
from werkzeug.routing import Rule


class _Templates(BytecodeCache):
    def __init__(self) -> None:
        self._compiled: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._compiled:
            bucket.bytecode_from_string(self._compiled[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._compiled[bucket.key] = bucket.bytecode_to_string()


_templates = _Templates()
_statements: LRUCache[Any, Any] = LRUCache(3000)
_builders: dict[Any, Callable[..., tuple[str, str]]] = {}

_compile_builder = Rule._compile_builder


def _find_builder(rule: Rule, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
    """Werkzeug's own, made once for each rule; the function is bound to its rule afterwards."""
    defaults = tuple(sorted((name, repr(value)) for name, value in (rule.defaults or {}).items()))
    key = (rule.rule, tuple(rule._trace), defaults, append_unknown)
    if key not in _builders:
        _builders[key] = _compile_builder(rule, append_unknown)
    return _builders[key]


def share() -> None:
    """From now on the next application finds URL builders and compiled SQL that another one made."""
    Rule._compile_builder = _find_builder  # type: ignore[assignment, method-assign]
    # SQLAlchemy finds compiled SQL by dialect and statement. Two engines for one kind of database speak alike.
    for dialect in (PGDialect_psycopg, SQLiteDialect_pysqlite):
        dialect.__eq__ = lambda self, other: type(self) is type(other)  # type: ignore[method-assign]
        dialect.__hash__ = lambda self: hash(type(self))  # type: ignore[method-assign]


def use(app: Flask, engine: Engine) -> None:
    """Let ``app`` find again what others compiled."""
    app.jinja_env.bytecode_cache = _templates
    engine._compiled_cache = _statements

"""Reads a statement's own tree and says which tenants' tables in it are bound to a tenant.

A table (or each alias of it) is bound if its ``tenant_id`` equals a value, or
equals the tenant of something that is bound, by conditions that always hold: in
WHERE or ON, joined by AND. Under OR or NOT nothing is learned, and an outer
join's ON says something about its optional side only. What the walk does not
understand counts as forgotten.

It follows SQLAlchemy's compiler, down to two of its private interfaces: the
compile state, which holds what the ORM made of a statement, and the FROMs that
are left of a subquery once it is correlated. tests/architecture/test_isolation.py
would notice if they changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import BindParameter, CompoundSelect, Delete, Insert, MetaData, TextClause, Update
from sqlalchemy.sql import operators
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import BinaryExpression, BooleanClauseList, ClauseElement, ColumnClause, Grouping
from sqlalchemy.sql.selectable import (
    AliasedReturnsRows,
    FromClause,
    FromGrouping,
    Join,
    Lateral,
    Select,
    SelectBase,
    SelectStatementGrouping,
    TableClause,
    TextualSelect,
)

from app.isolation.tables import DIRECTORY, TENANT_ID, find_owned, is_owned

_STATEMENTS = (SelectBase, Insert, Update, Delete, TextClause)


@dataclass(eq=False, slots=True)
class _Source:
    """A table, or an alias of one, at one place of a statement; ``column`` holds its tenant."""

    table: str
    column: str
    must_be_bound: bool
    is_bound: bool = False


@dataclass(eq=False, slots=True)
class _Scope:
    """A SELECT, UPDATE or DELETE with its tables, inside of others whose tables it may name."""

    outer: _Scope | None
    #: SQLAlchemy's words: what a SELECT inside may name, of this one alone and of all around it.
    asfrom_froms: frozenset[Any]
    correlate_froms: frozenset[Any]
    sources: dict[Any, _Source] = field(default_factory=dict)
    #: Subqueries in its FROM, which are read once all its tables are known: a LATERAL may name them.
    subqueries: list[Any] = field(default_factory=list)

    def find(self, table: Any) -> _Source | None:
        for known in getattr(table, "_cloned_set", ()):
            if known in self.sources:
                return self.sources[known]
        return None if self.outer is None else self.outer.find(table)


@dataclass(frozen=True, slots=True)
class _Equality:
    """``source`` always has the tenant that ``other`` has (None: a value); this may bind those in ``about`` only."""

    source: _Source
    other: _Source | None
    about: frozenset[_Source]

    def bind(self) -> bool:
        """Bind what can be bound by it; False if there was nothing left."""
        news = False
        for source, by in ((self.source, self.other), (self.other, self.source)):
            known = by is None or by.is_bound
            if source is not None and known and source in self.about and not source.is_bound:
                source.is_bound = news = True
        return news


class Walk:
    """One walk over one compiled statement."""

    def __init__(self, metadata: MetaData, compiled: SQLCompiler) -> None:
        self._metadata = metadata
        self._compiled = compiled
        self._sources: list[_Source] = []
        self._equalities: list[_Equality] = []
        self._parameters: list[str] = []
        self._problems: list[str] = []
        self._seen: set[int] = set()

    @property
    def tables(self) -> list[str]:
        """The tenants' tables that were met, each once, and those of the directory."""
        return list(dict.fromkeys(source.table for source in self._sources))

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of the parameters that hold the tenant."""
        return tuple(dict.fromkeys(self._parameters))

    def find_problems(self) -> list[str]:
        """Let the equalities bind what they can; what is left are problems, as are things that cannot be read."""
        while any(equality.bind() for equality in self._equalities):
            pass
        forgotten = [source for source in self._sources if source.must_be_bound and not source.is_bound]
        unbound = [f"{source.table}.{source.column} is bound to no tenant" for source in forgotten]
        return list(dict.fromkeys(unbound + self._problems))

    def read(self, statement: Any, outer: _Scope | None = None, *, in_from: bool = False, state: Any = None) -> None:
        """Read a statement and all within it. ``state`` is its compile state, if it was compiled already."""
        if isinstance(statement, (SelectStatementGrouping, TextualSelect)):
            self.read(statement.element, outer, in_from=in_from)
        elif isinstance(statement, Select):
            self._read_select(statement, outer, in_from=in_from, state=state)
        elif isinstance(statement, CompoundSelect):
            for select in statement.selects:
                self.read(select, outer, in_from=in_from)
        elif isinstance(statement, Insert):
            self._read_insert(statement, state)
        elif isinstance(statement, (Update, Delete)):
            self._read_change(statement, state)
        elif isinstance(statement, TextClause):
            self._read_text(statement.text)
        else:
            self._read_expressions([statement], outer)

    def _read_select(self, select: Any, outer: _Scope | None, *, in_from: bool, state: Any = None) -> _Scope:
        state = self._state_of(select, state)
        implicit = outer.asfrom_froms if outer else frozenset()
        explicit = outer.correlate_froms if outer else frozenset()
        if in_from:
            implicit, explicit = frozenset(), explicit - implicit
        froms = state._get_display_froms(explicit_correlate_froms=explicit, implicit_correlate_froms=implicit)
        scope = self._enter(froms, outer)
        self._learn(state.statement._where_criteria, scope, scope.sources.values())
        self._read_expressions(state.statement.get_children(), scope)
        return scope

    def _state_of(self, statement: Any, state: Any) -> Any:
        # Under the ORM its statement is what will be sent; the one at hand says what was meant.
        return statement._compile_state_factory(statement, self._compiled) if state is None else state

    def _enter(self, froms: Iterable[FromClause], outer: _Scope | None) -> _Scope:
        own = frozenset(part for one in froms for part in one._from_objects)
        scope = _Scope(outer, own, own | (outer.correlate_froms if outer else frozenset()))
        for one in froms:
            self._read_from(one, scope)
        for subquery in scope.subqueries:
            self._read_subquery(subquery, scope)
        return scope

    def _read_from(self, part: Any, scope: _Scope) -> list[_Source]:
        """Read one part of a FROM; returns the tables in it whose tenant can be told."""
        if isinstance(part, FromGrouping):
            return self._read_from(part.element, scope)
        if isinstance(part, Join):
            left, right = self._read_from(part.left, scope), self._read_from(part.right, scope)
            self._learn([part.onclause], scope, [] if part.full else right if part.isouter else left + right)
            self._read_expressions([part.onclause], scope)
            return left + right
        element = part
        while isinstance(element, AliasedReturnsRows):
            element = element.element
        if isinstance(element, TableClause):
            return self._add_source(part, element.name, scope)
        scope.subqueries.append(part)
        return []

    def _add_source(self, part: Any, table: str, scope: _Scope) -> list[_Source]:
        is_tenants = is_owned(self._metadata, table)
        if not is_tenants and table not in DIRECTORY:
            return []
        source = scope.sources[part] = _Source(table, DIRECTORY.get(table, TENANT_ID), is_tenants)
        self._sources.append(source)
        return [source]

    def _read_subquery(self, part: Any, scope: _Scope) -> None:
        if id(part) in self._seen:  # a recursive CTE holds itself
            return
        self._seen.add(id(part))
        element, is_lateral = part, isinstance(part, Lateral)
        while isinstance(element, AliasedReturnsRows):
            element = element.element
        if isinstance(element, _STATEMENTS):
            self.read(element, scope, in_from=not is_lateral)
        elif isinstance(element, FromClause):
            self._problems.append(f"a {type(element).__name__} behind an alias cannot be read")
        else:
            self._read_expressions([element], scope)

    def _learn(self, conditions: Iterable[Any], scope: _Scope, about: Iterable[_Source]) -> None:
        """Note what ``conditions``, which all hold, say of the sources ``about``."""
        about = frozenset(about)
        for condition in _equalities(conditions):
            for one, other in ((condition.left, condition.right), (condition.right, condition.left)):
                source = self._tenant_of(one, scope)
                if source is None:
                    continue
                if self._note_parameter(other):
                    self._equalities.append(_Equality(source, None, about))
                elif (equal := self._tenant_of(other, scope)) is not None:
                    self._equalities.append(_Equality(source, equal, about))

    def _tenant_of(self, side: Any, scope: _Scope) -> _Source | None:
        """The source whose tenant the column ``side`` is."""
        side = _ungrouped(side)
        source = scope.find(side.table) if isinstance(side, ColumnClause) else None
        return source if source is not None and side.name == source.column else None

    def _note_parameter(self, side: Any) -> bool:
        """True if ``side`` is one value, which then is the tenant's."""
        side = _ungrouped(side)
        if not isinstance(side, BindParameter) or side.expanding:
            return False
        self._parameters.append(self._compiled.bind_names.get(side) or side.key)
        return True

    def _read_expressions(self, expressions: Iterable[Any], scope: _Scope | None) -> None:
        """Read what stands inside of expressions: whole statements, and text."""
        waiting = list(expressions)
        while waiting:
            element = waiting.pop()
            if isinstance(element, _STATEMENTS):
                self.read(element, scope)
            elif isinstance(element, ColumnClause) and element.is_literal:
                self._read_text(element.name)
            elif isinstance(element, ClauseElement) and not isinstance(element, FromClause):
                waiting.extend(element.get_children())

    def _read_text(self, text: str) -> None:
        if named := find_owned(self._metadata, text):
            self._problems.append(f"text in it names {named}, and nobody can tell for which tenant")

    def _read_change(self, statement: Any, state: Any) -> None:
        state = self._state_of(statement, state)
        statement = state.statement
        scope = self._enter([statement.table, *state._extra_froms], None)
        self._learn(statement._where_criteria, scope, scope.sources.values())
        if is_owned(self._metadata, statement.table.name) and TENANT_ID in self._columns_written(state):
            self._problems.append(f"rows of {statement.table.name} would change their tenant")
        self._read_expressions(statement.get_children(), scope)

    def _columns_written(self, state: Any) -> set[str]:
        given = {_name(key) for key in state._dict_parameters or ()}
        return given | set((self._is_outermost(state) and self._compiled.column_keys) or ())

    def _is_outermost(self, state: Any) -> bool:
        return state is self._compiled.compile_state

    def _read_insert(self, statement: Any, state: Any) -> None:
        state = self._state_of(statement, state)
        statement = state.statement
        is_tenants = is_owned(self._metadata, statement.table.name)
        if statement.select is not None:
            self._read_inserted_select(statement, is_tenants=is_tenants)
        elif is_tenants:
            self._read_inserted_values(state, statement.table.name)
        self._read_expressions(statement.get_children(), None)
        # The values of several rows are no children of it.
        self._read_expressions((value for row in state._multi_parameters or () for value in row.values()), None)

    def _read_inserted_values(self, state: Any, table: str) -> None:
        self._sources.append(_Source(table, TENANT_ID, must_be_bound=False))
        rows = state._multi_parameters or [state._dict_parameters or {}]
        given = [value for row in rows for key, value in row.items() if _name(key) == TENANT_ID]
        if any(isinstance(value, ClauseElement) and not isinstance(value, BindParameter) for value in given):
            self._problems.append(f"the tenant of a row of {table} is computed")
        elif TENANT_ID not in self._columns_written(state) or not self._is_outermost(state):
            self._problems.append(f"a row of {table} comes without its tenant")
        # The compiler names values after their column, those of several rows with a number behind.
        names = (name for name in self._compiled.binds if re.fullmatch(rf"{TENANT_ID}(_m\d+)?", name))
        self._parameters.extend(names)

    def _read_inserted_select(self, statement: Any, *, is_tenants: bool) -> None:
        select = _ungrouped(statement.select)
        scope = self._read_select(select, None, in_from=False) if isinstance(select, Select) else None
        if scope is None:
            self.read(select)
        if not is_tenants:
            return
        given = dict(zip(statement._select_names, select.selected_columns, strict=False)).get(TENANT_ID)
        source = None if scope is None else self._tenant_of(given, scope)
        if source is not None:
            # The rows that are made belong to the tenant of a row that is read, which then has to be one.
            source.must_be_bound = True
        elif scope is None or not self._note_parameter(given):
            self._problems.append(f"rows of {statement.table.name} come without their tenant")


def _equalities(conditions: Iterable[Any]) -> Iterator[BinaryExpression[Any]]:
    """The equalities that hold if all of ``conditions`` do."""
    for condition in conditions:
        plain = _ungrouped(condition)
        if isinstance(plain, BooleanClauseList) and plain.operator is operators.and_:
            yield from _equalities(plain.clauses)
        elif isinstance(plain, BinaryExpression) and plain.operator is operators.eq:
            yield plain


def _ungrouped(element: Any) -> Any:
    while isinstance(element, (Grouping, SelectStatementGrouping)):
        element = element.element
    return element


def _name(key: Any) -> str:
    return str(getattr(key, "key", key))

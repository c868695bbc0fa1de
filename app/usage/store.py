"""Every SQL statement about last uses and problems. Nothing here commits.

What is noted is written in batches, rows in the order of their keys: two workers
that write the same ones wait for each other and do not deadlock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import case, select, text, tuple_
from sqlalchemy.dialects import postgresql, sqlite

from app import credentials
from app.clients.models import Client
from app.extensions import db
from app.usage.models import PERSON, TOKEN, ClientUse, Problem, TokenUse, of_person

#: Different problems that are kept of a client and a day. All others of that day are counted in one row more.
PROBLEMS_A_DAY = 100
#: ``kind`` of that row.
MORE = "more"
#: Rows of one statement at the most.
ROWS = 200

_DAY = 86_400

T = TypeVar("T")

#: Tenant, month of expiry and digest.
TokenKey = tuple[int, int, bytes]
#: Tenant, client, and ``what`` of a ClientUse.
ClientKey = tuple[int, int, str]
#: Tenant, client and the digest of day, kind, detail, address and agent.
ProblemKey = tuple[int, int, bytes]


@dataclass(frozen=True, slots=True)
class Use:
    """When something was used last (epoch seconds), from which address, and what program it said it was."""

    at: int
    address: str | None
    agent: str


@dataclass(frozen=True, slots=True)
class Failures:
    """Requests of a client that failed alike on one day, as they are noted."""

    kind: str
    detail: str
    address: str | None
    agent: str
    #: Of the last one.
    request_id: str | None
    times: int
    first_at: int
    last_at: int

    @property
    def day(self) -> int:
        return self.first_at // _DAY

    def plus(self, other: Failures) -> Failures:
        """Both together; ``other`` was noted later."""
        last = other if other.last_at >= self.last_at else self
        return Failures(
            self.kind,
            self.detail,
            last.address,
            last.agent,
            last.request_id,
            self.times + other.times,
            min(self.first_at, other.first_at),
            last.last_at,
        )

    def as_more(self) -> Failures:
        """The same without what tells it from others: of a day on which there were too many kinds."""
        return Failures(MORE, "", None, "", self.request_id, self.times, self.first_at, self.last_at)

    def digest(self) -> bytes:
        """What it is kept by, beside tenant and client."""
        parts = [str(self.day), self.kind, self.detail, self.address or "", self.agent]
        # None of them holds a line break: what is noted is printable.
        return credentials.digest("\n".join(parts))


@dataclass(slots=True)
class Batch:
    """What was noted and is not written yet."""

    tokens: dict[TokenKey, Use] = field(default_factory=dict)
    clients: dict[ClientKey, Use] = field(default_factory=dict)
    problems: dict[ProblemKey, Failures] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.tokens) + len(self.clients) + len(self.problems)

    def parts(self, most: int) -> Iterator[Batch]:
        """All of it in batches of at most ``most`` entries of each kind, those of one tenant side by side."""
        rest = [[dict(part) for part in slices(sorted(kind.items(), key=_key), most)] for kind in self._kinds]
        for position in range(max(map(len, rest))):
            yield Batch(*(kind[position] if position < len(kind) else {} for kind in rest))

    @property
    def _kinds(self) -> tuple[dict[Any, Any], ...]:
        return self.tokens, self.clients, self.problems


def slices(items: Iterable[T], most: int) -> Iterator[tuple[T, ...]]:
    """``items`` in order, at most ``most`` at a time."""
    rest = iter(items)
    while some := tuple(islice(rest, most)):
        yield some


def _key(item: tuple[Any, Any]) -> Any:
    return item[0]


def find_client_uses(tenant_id: int, client_pks: list[int]) -> dict[int, Use]:
    """When each of those clients last used any of its tokens; without those that never did."""
    if not client_pks:
        return {}
    statement = select(ClientUse.client_pk, ClientUse.used_at, ClientUse.address, ClientUse.agent).where(
        ClientUse.tenant_id == tenant_id, ClientUse.client_pk.in_(client_pks), ClientUse.what == TOKEN
    )
    return {pk: Use(at, address, agent) for pk, at, address, agent in db.session.execute(statement)}


def find_uses_for_person(tenant_id: int, user_id: int, client_pks: list[int]) -> dict[int, Use]:
    """When each of those clients last used a token by which it acts for that person; without those that never did."""
    if not client_pks:
        return {}
    statement = select(ClientUse.client_pk, ClientUse.used_at, ClientUse.address, ClientUse.agent).where(
        ClientUse.tenant_id == tenant_id, ClientUse.client_pk.in_(client_pks), ClientUse.what == of_person(user_id)
    )
    return {pk: Use(at, address, agent) for pk, at, address, agent in db.session.execute(statement)}


def find_secret_uses(tenant_id: int, client_pk: int) -> dict[str, Use]:
    """When a client's secrets were last right, by their fingerprints, see credentials.fingerprint."""
    statement = select(ClientUse.what, ClientUse.used_at, ClientUse.address, ClientUse.agent).where(
        ClientUse.tenant_id == tenant_id,
        ClientUse.client_pk == client_pk,
        ClientUse.what != TOKEN,
        ClientUse.what.not_like(f"{PERSON}%"),
    )
    return {what: Use(at, address, agent) for what, at, address, agent in db.session.execute(statement)}


def find_token_uses(tenant_id: int, refs: list[tuple[int, bytes]]) -> dict[tuple[int, bytes], Use]:
    """When each of those tokens, by month of expiry and digest, was last used; without those that never were."""
    if not refs:
        return {}
    statement = select(
        TokenUse.expiry_month, TokenUse.digest, TokenUse.used_at, TokenUse.address, TokenUse.agent
    ).where(TokenUse.tenant_id == tenant_id, tuple_(TokenUse.expiry_month, TokenUse.digest).in_(refs))
    return {
        (month, digest): Use(at, address, agent) for month, digest, at, address, agent in db.session.execute(statement)
    }


def list_problems(tenant_id: int, client_pk: int, since: int, most: int = 50) -> list[Problem]:
    """Why requests of a client failed since ``since`` (epoch seconds), newest first."""
    statement = (
        select(Problem)
        .where(Problem.tenant_id == tenant_id, Problem.client_pk == client_pk, Problem.last_at >= since)
        .order_by(Problem.last_at.desc(), Problem.digest)
        .limit(most)
        # Another process counts on in these rows.
        .execution_options(populate_existing=True)
    )
    return list(db.session.scalars(statement))


def write(batch: Batch) -> None:
    """Write what was noted: a last use never goes backwards, a problem is counted on. What is gone is left out."""
    _begin()
    _write_uses(TokenUse, ("expiry_month", "digest"), sorted(batch.tokens.items(), key=_key))
    by_tenant: dict[int, set[int]] = defaultdict(set)
    for tenant_id, client_pk, _ in [*batch.clients, *batch.problems]:
        by_tenant[tenant_id].add(client_pk)
    there = {(tenant_id, pk) for tenant_id in sorted(by_tenant) for pk in _hold(tenant_id, by_tenant[tenant_id])}
    uses = sorted(item for item in batch.clients.items() if item[0][:2] in there)
    _write_uses(ClientUse, ("client_pk", "what"), uses)
    _write_problems({key: noted for key, noted in batch.problems.items() if key[:2] in there})


def _begin() -> None:
    """Keep other writers of SQLite away from the first look on, as _hold does on PostgreSQL."""
    connection = db.session.connection()
    if db.engine.dialect.name == "sqlite" and not connection.connection.dbapi_connection.in_transaction:  # type: ignore[union-attr]
        db.session.execute(text("BEGIN IMMEDIATE"))


def _hold(tenant_id: int, client_pks: Iterable[int]) -> list[int]:
    """Which of the clients are there: until the commit they stay, and nobody else counts their problems."""
    found: list[int] = []
    for some in slices(sorted(client_pks), ROWS):
        statement = select(Client.id).where(Client.tenant_id == tenant_id, Client.id.in_(some)).order_by(Client.id)
        found += db.session.scalars(statement.with_for_update(key_share=True))
    return found


_INSERTS: dict[str, Callable[[Any], Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def _insert(table: type[Any], rows: list[dict[str, Any]]) -> Any:
    return _INSERTS[db.engine.dialect.name](table).values(rows)


def _write_uses(table: Any, names: tuple[str, str], uses: list[tuple[Any, Use]]) -> None:
    for some in slices(uses, ROWS):
        rows = [
            dict(zip(("tenant_id", *names), key, strict=True))
            | {"used_at": use.at, "address": use.address, "agent": use.agent}
            for key, use in some
        ]
        insert = _insert(table, rows)
        written = insert.on_conflict_do_update(
            index_elements=[table.__table__.c[name] for name in ("tenant_id", *names)],
            set_={name: insert.excluded[name] for name in ("used_at", "address", "agent")},
            where=insert.excluded.used_at > table.used_at,
        )
        db.session.execute(written)


def _write_problems(noted: dict[ProblemKey, Failures]) -> None:
    by_tenant: dict[int, dict[ProblemKey, Failures]] = defaultdict(dict)
    for key, failures in noted.items():
        by_tenant[key[0]][key] = failures
    rows: dict[ProblemKey, Failures] = {}
    for tenant_id, of_tenant in by_tenant.items():
        rows |= _without_too_many(tenant_id, of_tenant)
    for some in slices(sorted(rows.items(), key=_key), ROWS):
        _count_on([_row_of(key, failures) for key, failures in some])


def _without_too_many(tenant_id: int, noted: dict[ProblemKey, Failures]) -> dict[ProblemKey, Failures]:
    """``noted``, with what would be one too many of a client and a day counted as MORE."""
    known = _known_problems(tenant_id, {pk for _, pk, _ in noted}, min(one.day for one in noted.values()))
    kept: dict[ProblemKey, Failures] = {}
    for key, failures in sorted(noted.items(), key=lambda item: item[1].first_at):
        of_day = known[key[1], failures.day]
        if failures.kind != MORE and key[2] not in of_day and len(of_day) >= PROBLEMS_A_DAY:
            failures = failures.as_more()
            key = (key[0], key[1], failures.digest())
        elif failures.kind != MORE:
            of_day.add(key[2])
        kept[key] = kept[key].plus(failures) if key in kept else failures
    return kept


def _known_problems(tenant_id: int, client_pks: set[int], since_day: int) -> dict[tuple[int, int], set[bytes]]:
    """The digests of what is kept already, by client and day; without MORE."""
    known: dict[tuple[int, int], set[bytes]] = defaultdict(set)
    for some in slices(sorted(client_pks), ROWS):
        statement = select(Problem.client_pk, Problem.first_at, Problem.digest).where(
            Problem.tenant_id == tenant_id,
            Problem.client_pk.in_(some),
            Problem.last_at >= since_day * _DAY,
            Problem.kind != MORE,
        )
        for client_pk, first_at, digest in db.session.execute(statement):
            known[client_pk, first_at // _DAY].add(digest)
    return known


def _row_of(key: ProblemKey, failures: Failures) -> dict[str, Any]:
    values = {name: getattr(failures, name) for name in Failures.__slots__}
    return dict(zip(("tenant_id", "client_pk", "digest"), key, strict=True)) | values


def _count_on(rows: list[dict[str, Any]]) -> None:
    insert = _insert(Problem, rows)
    new = insert.excluded
    is_later = new.last_at >= Problem.last_at
    written = insert.on_conflict_do_update(
        index_elements=[Problem.tenant_id, Problem.client_pk, Problem.digest],
        set_={
            "times": Problem.times + new.times,
            "request_id": case((is_later, new.request_id), else_=Problem.request_id),
            "last_at": case((is_later, new.last_at), else_=Problem.last_at),
            "first_at": case((new.first_at < Problem.first_at, new.first_at), else_=Problem.first_at),
        },
    )
    db.session.execute(written)

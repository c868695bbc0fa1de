"""Every SQL statement about one-time links, about where somebody is signed in, and about a tenant's members."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError

from app.accounts.models import ADMIN, MEMBER, OneTimeLink, User, UserSession
from app.extensions import db
from app.revocations import feed, keys

INVITATION = "invitation"
PASSWORD_RESET = "password_reset"
#: Not a link: that what another sign-in service signed was used, which is good once too.
HANDOVER = "handover"

#: Seconds between two notes of when a session was last used.
SEEN_SECONDS = 15 * 60

#: What the list of members may be narrowed to.
SHOW = ("all", "admins", "invited", "off")


def put_link(user: User, purpose: str, digest: bytes, now: int, expires_at: int) -> None:
    """Keep a link for ``user`` by the digest of its text. Older ones of that purpose end; times are epoch seconds."""
    end_links(user.tenant_id, user.id, purpose)
    db.session.add(_row(user, purpose, digest, now, expires_at))


def find_user_of_link(tenant_id: int, digest: bytes, now: int) -> User | None:
    """Whose password the link would set; None if it would set nobody's."""
    statement = select(User).join(
        OneTimeLink, (OneTimeLink.tenant_id == User.tenant_id) & (OneTimeLink.user_id == User.id)
    )
    alive = (
        OneTimeLink.tenant_id == tenant_id,
        OneTimeLink.digest == digest,
        OneTimeLink.purpose.in_((INVITATION, PASSWORD_RESET)),
        OneTimeLink.expires_at > now,
        OneTimeLink.user_generation == User.generation,
        User.disabled.is_(False),
    )
    return db.session.scalars(statement.where(*alive)).first()


def use_link(tenant_id: int, digest: bytes, now: int) -> int | None:
    """The id of the user whose password may be set, once: one statement decides who of two is first. None: nobody's."""
    still_theirs = (
        select(User.id)
        .where(
            User.tenant_id == tenant_id,
            User.id == OneTimeLink.user_id,
            User.generation == OneTimeLink.user_generation,
            User.disabled.is_(False),
        )
        .exists()
    )
    used = delete(OneTimeLink).where(
        OneTimeLink.tenant_id == tenant_id,
        OneTimeLink.digest == digest,
        OneTimeLink.purpose.in_((INVITATION, PASSWORD_RESET)),
        OneTimeLink.expires_at > now,
        still_theirs,
    )
    returning = used.returning(OneTimeLink.user_id).execution_options(synchronize_session=False)
    user_id: int | None = db.session.execute(returning).scalar()
    return user_id


def end_links(tenant_id: int, user_id: int, *purposes: str) -> None:
    """Make the user's links of those purposes worthless."""
    _execute(
        delete(OneTimeLink).where(
            OneTimeLink.tenant_id == tenant_id, OneTimeLink.user_id == user_id, OneTimeLink.purpose.in_(purposes)
        )
    )


def use_once(user: User, digest: bytes, now: int, expires_at: int) -> bool:
    """True for the first who comes with what has that digest; it is remembered until ``expires_at``."""
    try:
        with db.session.begin_nested():
            db.session.add(_row(user, HANDOVER, digest, now, expires_at))
    except IntegrityError:
        return False
    return True


def purge_links(tenant_id: int, now: int, *, batch: int = 500) -> int:
    """Delete at most ``batch`` of the tenant's links that are over at ``now``; returns how many."""
    over = select(OneTimeLink.digest).where(OneTimeLink.tenant_id == tenant_id, OneTimeLink.expires_at <= now)
    digests = list(db.session.scalars(over.limit(batch)))
    if digests:
        _execute(delete(OneTimeLink).where(OneTimeLink.tenant_id == tenant_id, OneTimeLink.digest.in_(digests)))
    return len(digests)


def list_sessions(user: User, now: int, *, most: int = 50) -> list[UserSession]:
    """Where ``user`` is signed in at ``now``, what was used last first."""
    statement = select(UserSession).where(
        UserSession.tenant_id == user.tenant_id,
        UserSession.user_id == user.id,
        UserSession.user_generation == user.generation,
        UserSession.expires_at > now,
    )
    ordered = statement.order_by(UserSession.seen_at.desc(), UserSession.digest).limit(most)
    return list(db.session.scalars(ordered.execution_options(populate_existing=True)))


def end_session_of(user: User, digest: bytes) -> bool:
    """Sign ``user`` out of one of their own browsers; False if it is none of theirs, or is over."""
    return _execute(_sessions_of(user).where(UserSession.digest == digest)) == 1


def end_other_sessions(user: User, digest: bytes) -> int:
    """Sign ``user`` out everywhere but in the browser whose session has that digest; returns in how many."""
    return _execute(_sessions_of(user).where(UserSession.digest != digest))


def note_seen(tenant_id: int, digest: bytes, address: str | None, agent: str, now: int) -> None:
    """Note that the session was used at ``now``; of several at once, one does."""
    seen = update(UserSession).where(
        UserSession.tenant_id == tenant_id, UserSession.digest == digest, UserSession.seen_at <= now - SEEN_SECONDS
    )
    _execute(seen.values(seen_at=now, address=address, agent=agent))


def set_language(user: User, language: str) -> None:
    """What ``user`` reads from now on, on pages and in mails; "": as the browser says."""
    _execute(update(User).where(User.tenant_id == user.tenant_id, User.id == user.id).values(language=language))


def list_members(
    tenant_id: int, *, show: str = "all", search: str = "", after: str | None = None, most: int = 51
) -> list[User]:
    """The tenant's people by e-mail address; ``after`` is the key of the last one of the page before."""
    statement = _narrowed(select(User).where(User.tenant_id == tenant_id), show)
    if search:
        pattern = "%" + search.casefold().translate({ord(c): f"\\{c}" for c in "\\%_"}) + "%"
        named = func.lower(User.name).like(pattern, escape="\\")
        statement = statement.where(or_(named, User.email_key.like(pattern, escape="\\")))
    if after is not None:
        statement = statement.where(User.email_key > after)
    return list(db.session.scalars(statement.order_by(User.email_key).limit(most)))


def promote(tenant_id: int, user_id: int) -> bool:
    """Make a member an admin; False if nothing changed."""
    return _changes(tenant_id, user_id, _member(tenant_id, user_id).where(User.role == MEMBER).values(role=ADMIN))


def demote(tenant_id: int, user_id: int, *, by_password: bool) -> bool:
    """Make an admin a member; False if that is the last one who can sign in (``by_password``: needs to have one)."""
    changed = _member(tenant_id, user_id).where(
        User.role == ADMIN, _another_admin(tenant_id, user_id, by_password=by_password)
    )
    return _changes(tenant_id, user_id, changed.values(role=MEMBER))


def turn_off(tenant_id: int, user_id: int, *, by_password: bool) -> bool:
    """Turn somebody off, whose sessions, codes and tokens end; False if that is the last admin who can sign in."""
    changed = _member(tenant_id, user_id).where(
        User.disabled.is_(False),
        or_(User.role == MEMBER, _another_admin(tenant_id, user_id, by_password=by_password)),
    )
    if not _changes(tenant_id, user_id, changed.values(disabled=True, generation=User.generation + 1)):
        return False
    _execute(delete(UserSession).where(UserSession.tenant_id == tenant_id, UserSession.user_id == user_id))
    return True


def _another_admin(tenant_id: int, user_id: int, *, by_password: bool) -> Any:
    """True while somebody else is left to look after the tenant.

    The rows are locked as they are counted, always in one order: of two admins
    who turn each other off at once, the second counts what the first left.
    """
    admins = select(User.id).where(User.tenant_id == tenant_id, User.role == ADMIN, User.disabled.is_(False))
    if by_password:
        admins = admins.where(User.password_hash.is_not(None))
    locked = admins.order_by(User.id).with_for_update(key_share=True).cte("admins")
    return select(func.count()).select_from(locked).where(locked.c.id != user_id).scalar_subquery() > 0


def _narrowed(statement: Select[User], show: str) -> Select[User]:
    if show == "admins":
        return statement.where(User.role == ADMIN)
    if show == "invited":
        return statement.where(User.password_hash.is_(None), User.disabled.is_(False))
    return statement.where(User.disabled.is_(True)) if show == "off" else statement


def _member(tenant_id: int, user_id: int) -> Any:
    return update(User).where(User.tenant_id == tenant_id, User.id == user_id)


def _sessions_of(user: User) -> Any:
    return delete(UserSession).where(UserSession.tenant_id == user.tenant_id, UserSession.user_id == user.id)


def _row(user: User, purpose: str, digest: bytes, now: int, expires_at: int) -> OneTimeLink:
    return OneTimeLink(
        tenant_id=user.tenant_id,
        digest=digest,
        user_id=user.id,
        purpose=purpose,
        user_generation=user.generation,
        created_at=now,
        expires_at=expires_at,
    )


def _changes(tenant_id: int, user_id: int, statement: Any) -> bool:
    # Python's sqlite3 counts no rows of a statement that begins with WITH.
    returning = statement.returning(User.id).execution_options(synchronize_session=False)
    if db.session.execute(returning).first() is None:
        return False
    feed.record(tenant_id, keys.user(tenant_id, user_id))
    return True


def _execute(statement: Any) -> int:
    done = db.session.execute(statement.execution_options(synchronize_session=False))
    return int(done.rowcount)  # type: ignore[attr-defined]

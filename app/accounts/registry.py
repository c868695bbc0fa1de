"""Every SQL statement about users and sessions. ``tenant_id`` comes first, so that forgetting it is a TypeError."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sqlalchemy import and_, delete, select, update
from sqlalchemy.exc import IntegrityError

from app import credentials
from app.accounts.models import ADMIN, MEMBER, User, UserSession
from app.extensions import db
from app.revocations import feed, keys

PASSWORD_MIN_LENGTH = 10
PASSWORD_MAX_LENGTH = 256

_EMAIL = re.compile(r"[^\s@\x00-\x1f]{1,64}@[^\s@\x00-\x1f]{1,189}")


class UserError(ValueError):
    """A user cannot be made or changed like this; the text is for a person."""


def find_user_by_email(tenant_id: int, email: str) -> User | None:
    """The user of that address, whatever its case; None for text that is no address."""
    if not _EMAIL.fullmatch(email.strip()):
        return None
    statement = select(User).where(User.tenant_id == tenant_id, User.email_key == email_key(email))
    return db.session.scalars(statement).first()


def email_key(email: str) -> str:
    """``email`` as it is compared: without the spaces around it, whatever its case."""
    return email.strip().casefold()


def find_user(tenant_id: int, user_id: int) -> User | None:
    return db.session.get(User, (tenant_id, user_id))


def find_language(tenant_id: int, email: str) -> str:
    """The language that the person of that address chose to read; "" for none, and for nobody."""
    user = find_user_by_email(tenant_id, email)
    return "" if user is None else user.language


def list_users(tenant_id: int) -> list[User]:
    return list(db.session.scalars(select(User).where(User.tenant_id == tenant_id).order_by(User.email_key)))


def list_admins(tenant_id: int) -> list[User]:
    """The tenant's admins who can sign in, by name."""
    statement = select(User).where(User.tenant_id == tenant_id, User.role == ADMIN, User.disabled.is_(False))
    return list(db.session.scalars(statement.order_by(User.name)))


def create_user(
    tenant_id: int, email: str, name: str, now: int, *, password: str | None = None, admin: bool = False
) -> User:
    """Add a user. Raises UserError. Without a password the user cannot sign in yet."""
    email = email.strip()
    name = " ".join(name.split())
    if not _EMAIL.fullmatch(email):
        raise UserError(f"'{email}' is not an e-mail address.")
    if not 1 <= len(name) <= 80 or not name.isprintable():
        raise UserError("A name has 1 to 80 characters.")
    user = User(
        tenant_id=tenant_id,
        email=email,
        email_key=email_key(email),
        name=name,
        role=ADMIN if admin else MEMBER,
        password_hash=None if password is None else credentials.hash_password(_checked_password(password)),
        created_at=now,
    )
    try:
        with db.session.begin_nested():
            db.session.add(user)
    except IntegrityError as error:
        raise UserError(f"There is a user {email} already.") from error
    return user


def set_password(tenant_id: int, user_id: int, password: str) -> None:
    """Set a new password; ends the user's sessions, codes and tokens. Raises UserError."""
    password_hash = credentials.hash_password(_checked_password(password))
    _update(tenant_id, user_id, password_hash=password_hash, generation=User.generation + 1)
    _end_sessions(tenant_id, user_id)


def disable_user(tenant_id: int, user_id: int) -> None:
    """Turn the user off; ends the user's sessions, codes and tokens for good."""
    _update(tenant_id, user_id, disabled=True, generation=User.generation + 1)
    _end_sessions(tenant_id, user_id)


def enable_user(tenant_id: int, user_id: int) -> None:
    _update(tenant_id, user_id, disabled=False)


def add_session(
    user: User,
    digest: bytes,
    now: int,
    expires_at: int,
    *,
    confirmed_at: int | None = None,
    address: str | None = None,
    agent: str = "",
) -> None:
    """Remember a browser that ``user`` just signed in with; times are epoch seconds.

    ``confirmed_at`` is when the person last proved who they are: now, unless said otherwise.
    """
    db.session.add(
        UserSession(
            tenant_id=user.tenant_id,
            digest=digest,
            user_id=user.id,
            user_generation=user.generation,
            signed_in_at=now,
            confirmed_at=now if confirmed_at is None else confirmed_at,
            expires_at=expires_at,
            seen_at=now,
            address=address,
            agent=agent,
        )
    )


def find_signed_in_user(tenant_id: int, digest: bytes, now: int) -> tuple[User, int] | None:
    """The user of a live session, and when it was last noted to be used; one statement.

    A session of another generation is over.
    """
    statement = (
        select(User, UserSession.seen_at)
        .join(UserSession, (UserSession.tenant_id == User.tenant_id) & (UserSession.user_id == User.id))
        .where(
            UserSession.tenant_id == tenant_id,
            UserSession.digest == digest,
            UserSession.expires_at > now,
            UserSession.user_generation == User.generation,
            User.disabled.is_(False),
        )
        .execution_options(populate_existing=True)
    )
    found = db.session.execute(statement).first()
    return None if found is None else (found[0], found[1])


def find_owners(tenant_id: int, digests: Sequence[bytes], now: int) -> dict[bytes, tuple[User, bool]]:
    """Whose sessions those are, by digest, and if each is alive at ``now``; one statement. Ended ones are not there."""
    is_alive = and_(
        UserSession.expires_at > now, UserSession.user_generation == User.generation, User.disabled.is_(False)
    )
    statement = (
        select(UserSession.digest, User, is_alive)
        .join(User, (UserSession.tenant_id == User.tenant_id) & (UserSession.user_id == User.id))
        .where(UserSession.tenant_id == tenant_id, UserSession.digest.in_(digests))
        .execution_options(populate_existing=True)
    )
    return {digest: (user, bool(alive)) for digest, user, alive in db.session.execute(statement)}


def resume_session(tenant_id: int, digest: bytes, new_digest: bytes) -> bool:
    """Let a session that waited go on under another id, as if no password had been given in it; False if it ended."""
    resumed = update(UserSession).where(UserSession.tenant_id == tenant_id, UserSession.digest == digest)
    values = {"digest": new_digest, "confirmed_at": 0}
    return int(db.session.execute(resumed.values(values)).rowcount) == 1  # type: ignore[attr-defined]


def find_sign_in_time(tenant_id: int, digest: bytes) -> int | None:
    """Epoch seconds at which the session began; None if there is none of that digest."""
    statement = select(UserSession.signed_in_at)
    return db.session.scalar(statement.where(UserSession.tenant_id == tenant_id, UserSession.digest == digest))


def find_confirmation_time(tenant_id: int, digest: bytes) -> int | None:
    """Epoch seconds at which the password was last given in that session; None if there is none of that digest."""
    statement = select(UserSession.confirmed_at)
    return db.session.scalar(statement.where(UserSession.tenant_id == tenant_id, UserSession.digest == digest))


def confirm_session(tenant_id: int, digest: bytes, new_digest: bytes, now: int) -> bool:
    """Note that the password was given at ``now`` (epoch seconds), under another id from now on; False if it ended."""
    confirmed = update(UserSession).where(UserSession.tenant_id == tenant_id, UserSession.digest == digest)
    values = {"digest": new_digest, "confirmed_at": now}
    return int(db.session.execute(confirmed.values(values)).rowcount) == 1  # type: ignore[attr-defined]


def rename_session(tenant_id: int, digest: bytes, new_digest: bytes) -> bool:
    """Let the session go on under another id; False if it has ended, or did so already."""
    renamed = update(UserSession).where(UserSession.tenant_id == tenant_id, UserSession.digest == digest)
    return int(db.session.execute(renamed.values(digest=new_digest)).rowcount) == 1  # type: ignore[attr-defined]


def end_session(tenant_id: int, digest: bytes) -> None:
    db.session.execute(delete(UserSession).where(UserSession.tenant_id == tenant_id, UserSession.digest == digest))


def purge_sessions(tenant_id: int, now: int, *, batch: int = 500) -> int:
    """Delete at most ``batch`` of the tenant's sessions that are over at ``now``; returns how many."""
    over = select(UserSession.digest).where(UserSession.tenant_id == tenant_id, UserSession.expires_at <= now)
    digests = list(db.session.scalars(over.limit(batch)))
    if digests:
        db.session.execute(
            delete(UserSession).where(UserSession.tenant_id == tenant_id, UserSession.digest.in_(digests))
        )
    return len(digests)


def _end_sessions(tenant_id: int, user_id: int) -> None:
    db.session.execute(delete(UserSession).where(UserSession.tenant_id == tenant_id, UserSession.user_id == user_id))


def _update(tenant_id: int, user_id: int, **values: object) -> None:
    db.session.execute(update(User).where(User.tenant_id == tenant_id, User.id == user_id).values(**values))
    feed.record(tenant_id, keys.user(tenant_id, user_id))


def _checked_password(password: str) -> str:
    if not PASSWORD_MIN_LENGTH <= len(password) <= PASSWORD_MAX_LENGTH:
        raise UserError(f"A password has {PASSWORD_MIN_LENGTH} to {PASSWORD_MAX_LENGTH} characters.")
    return password

"""Users and their sessions. Every key leads with the tenant: the same e-mail in two tenants is two users."""

from __future__ import annotations

from sqlalchemy import ForeignKey, ForeignKeyConstraint, Index, LargeBinary, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Model, new_id

ADMIN = "admin"
MEMBER = "member"


class User(Model):
    """A person of one tenant.

    ``generation`` is carried by sessions, codes and tokens; disabling the user
    or setting a new password raises it, which ends them all at once.
    """

    __tablename__ = "user_account"
    __table_args__ = (UniqueConstraint("tenant_id", "email_key"),)

    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenant.id", ondelete="CASCADE"), primary_key=True)
    id: Mapped[int] = mapped_column(primary_key=True, default=new_id, autoincrement=False)
    email: Mapped[str]
    #: The e-mail address as it is compared: case-folded.
    email_key: Mapped[str]
    name: Mapped[str]
    role: Mapped[str] = mapped_column(default=MEMBER)
    #: argon2id; None until a password is set.
    password_hash: Mapped[str | None]
    disabled: Mapped[bool] = mapped_column(default=False)
    generation: Mapped[int] = mapped_column(default=0)
    #: The language that the person chose for the pages and mails (BCP 47); empty: as the browser says.
    language: Mapped[str] = mapped_column(default="")
    created_at: Mapped[int]

    @property
    def is_admin(self) -> bool:
        return self.role == ADMIN


class UserSession(Model):
    """A browser that is signed in. Deleting the row signs it out, whatever cookie it keeps."""

    __tablename__ = "user_session"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "user_id"], ["user_account.tenant_id", "user_account.id"], ondelete="CASCADE"
        ),
        Index("ix_user_session_user", "tenant_id", "user_id"),
    )

    tenant_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    #: SHA-256 of the session id in the cookie.
    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    user_id: Mapped[int]
    user_generation: Mapped[int]
    signed_in_at: Mapped[int]
    #: When the person last gave the password: at sign-in, or again before something dangerous.
    confirmed_at: Mapped[int]
    expires_at: Mapped[int]
    #: When it was last used, up to 15 minutes behind, from where, and by which browser.
    seen_at: Mapped[int] = mapped_column(default=0)
    address: Mapped[str | None]
    agent: Mapped[str] = mapped_column(default="")


class OneTimeLink(Model):
    """A link in a mail by which somebody sets a password: an invitation, or the way back in. Good once."""

    __tablename__ = "one_time_link"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "user_id"], ["user_account.tenant_id", "user_account.id"], ondelete="CASCADE"
        ),
        Index("ix_one_time_link_user", "tenant_id", "user_id"),
        Index("ix_one_time_link_expires_at", "tenant_id", "expires_at"),
    )

    tenant_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    #: SHA-256 of the text in the link.
    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    user_id: Mapped[int]
    #: "invitation" or "password_reset".
    purpose: Mapped[str]
    #: The user's when it was made: a password that was set since makes it worthless.
    user_generation: Mapped[int]
    created_at: Mapped[int]
    expires_at: Mapped[int]

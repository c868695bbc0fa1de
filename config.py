"""Deployment-wide settings, read from the environment once, at start-up.

What differs between tenants (lifetimes, branding, PKCE policy) is stored with
the tenant instead: see app/tenants/models.py.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parseaddr
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

#: Shorter keys can be guessed; `flask secret-key` makes longer ones.
SECRET_KEY_MIN_LENGTH = 32

#: Seconds. So long a key that signs no more is still published: tokens of a setting before may be alive.
MOST_JWT_LIFETIME = 86_400

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
LOG_FORMATS = ("text", "json")


class ConfigError(Exception):
    """The environment does not describe a server we are willing to start."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything a process must know before it serves; immutable afterwards.

    Names in capitals are Flask's or an extension's own and are handed on as
    they are. There are no defaults for secrets.
    """

    SECRET_KEY: str
    SECRET_KEY_FALLBACKS: tuple[str, ...] = ()
    SQLALCHEMY_DATABASE_URI: str = "sqlite:///keyporter.db"
    #: Where failed attempts are counted; None means in the database.
    REDIS_URL: str | None = None
    #: The mail server; None means that no mail is sent.
    SMTP_URL: str | None = None
    #: What mails are from: an address, or "Name <address>".
    MAIL_FROM: str = "Keyporter <no-reply@localhost>"
    #: How many proxies in front of us may set X-Forwarded-For, -Proto and -Host.
    TRUSTED_PROXIES: int = 0
    #: The port that loopback and *.localhost addresses are printed with.
    PORT: int = 8000
    PRODUCT_NAME: str = "Keyporter"
    LOG_LEVEL: str = "INFO"
    LOG_FORMAT: str = "text"
    #: Seconds for which a worker may keep a tenant's settings in memory before reading them again.
    TENANT_CACHE_SECONDS: int = 30
    #: Seconds within which resource servers that remember answers are to have heard what ended. They are told.
    REVOCATION_BOUND: float = 1.0
    #: Seconds a statement may wait for the database before the request is answered with 503.
    DATABASE_TIMEOUT_SECONDS: int = 5
    #: Seconds that a signed access token (RFC 9068) lives at most, whatever the tenant says.
    JWT_LIFETIME_MAX: int = 3600
    #: Days after which a key that signs tokens is replaced; 0: only by command.
    SIGNING_KEY_DAYS: int = 90
    #: True: tell PostgreSQL which tenant each statement is for, see app/isolation/rows.py.
    ROW_LEVEL_SECURITY: bool = False
    #: True only for `flask demo`: adds the sample app and the sample API.
    DEMO: bool = False
    #: The folder of the SQLite file and of the demo's notes; None means instance/.
    INSTANCE_PATH: str | None = None
    #: True only in tests: key addresses of clients (jwks_uri) may lead to this machine.
    JWKS_ON_LOOPBACK: bool = False
    TESTING: bool = False
    #: Seconds a page's form stays valid; as long as a session lives.
    WTF_CSRF_TIME_LIMIT: int | None = None
    #: Seconds for which browsers keep style and script; their addresses change with their content.
    SEND_FILE_MAX_AGE_DEFAULT: int = 31_536_000
    #: No form of ours is larger; machine requests are bounded lower, see app/oauth/requests.py.
    MAX_CONTENT_LENGTH: int = 256 * 1024
    MAX_FORM_MEMORY_SIZE: int = 256 * 1024
    MAX_FORM_PARTS: int = 200
    #: What `flask doctor` says about this configuration; empty when it is sound.
    problems: tuple[str, ...] = field(default=())

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Config:
        """Read the settings from ``env``, usually ``os.environ``.

        Raises ConfigError, with one sentence for a person, if the environment
        is incomplete or contradictory. Under the ``flask`` command a missing or
        short SECRET_KEY is replaced by a random one, because commands sign
        nothing and ``flask secret-key`` has to run before there is a key.
        """
        problems: list[str] = []
        secret_key = _read(env, "SECRET_KEY") or ""
        if len(secret_key.strip()) < SECRET_KEY_MIN_LENGTH:
            problem = "SECRET_KEY is missing or too short. Make one:  flask secret-key"
            if not env.get("FLASK_RUN_FROM_CLI"):
                raise ConfigError(problem)
            problems.append(problem)
            secret_key = secrets.token_urlsafe(48)
        keys = (key.strip() for key in (_read(env, "SECRET_KEY_FALLBACKS") or "").split(","))
        fallbacks = tuple(key for key in keys if key)
        if any(len(key) < SECRET_KEY_MIN_LENGTH for key in fallbacks):
            # Whoever guesses one of them signs cookies with it as well as with the current one.
            raise ConfigError("A key in SECRET_KEY_FALLBACKS is too short.")
        database_url = _database_url(_read(env, "DATABASE_URL"))
        row_level_security = _number(env, "ROW_LEVEL_SECURITY", default=0, least=0, most=1) == 1
        if row_level_security and database_url.startswith("sqlite"):
            raise ConfigError("ROW_LEVEL_SECURITY needs PostgreSQL.")
        smtp_url = _smtp_url(_read(env, "SMTP_URL"))
        return cls(
            SECRET_KEY=secret_key,
            SECRET_KEY_FALLBACKS=fallbacks,
            SQLALCHEMY_DATABASE_URI=database_url,
            ROW_LEVEL_SECURITY=row_level_security,
            REDIS_URL=_redis_url(_read(env, "REDIS_URL")),
            SMTP_URL=smtp_url,
            MAIL_FROM=_mail_from(env.get("MAIL_FROM"), smtp_url),
            TRUSTED_PROXIES=_number(env, "TRUSTED_PROXIES", default=0, least=0, most=10),
            PORT=_number(env, "PORT", default=8000, least=1, most=65535),
            JWT_LIFETIME_MAX=_number(env, "JWT_LIFETIME_MAX", default=3600, least=60, most=MOST_JWT_LIFETIME),
            SIGNING_KEY_DAYS=_number(env, "SIGNING_KEY_DAYS", default=90, least=0, most=3650),
            PRODUCT_NAME=env.get("PRODUCT_NAME") or "Keyporter",
            REVOCATION_BOUND=_seconds(env, "REVOCATION_BOUND", default=1.0, least=0.2, most=60),
            LOG_LEVEL=_choice(env, "LOG_LEVEL", LOG_LEVELS, "INFO", fold=str.upper),
            LOG_FORMAT=_choice(env, "LOG_FORMAT", LOG_FORMATS, "text", fold=str.lower),
            DEMO=env.get("KEYPORTER_DEMO") == "1",
            INSTANCE_PATH=_folder(env.get("KEYPORTER_INSTANCE")),
            problems=tuple(problems),
        )

    @property
    def SQLALCHEMY_ENGINE_OPTIONS(self) -> dict[str, Any]:  # noqa: N802 - Flask-SQLAlchemy's name
        """Time limits, so that a database that hangs is an answer and not a stuck worker."""
        timeout = self.DATABASE_TIMEOUT_SECONDS
        if self.SQLALCHEMY_DATABASE_URI.startswith("sqlite"):
            return {"hide_parameters": True, "connect_args": {"timeout": timeout}}
        return {
            # An error's text would hold a row's values: e-mail addresses, hashes.
            "hide_parameters": True,
            "pool_pre_ping": True,
            "pool_timeout": timeout,
            "connect_args": {
                "connect_timeout": timeout,
                "options": f"-c statement_timeout={timeout * 1000} -c lock_timeout={timeout * 1000} -c timezone=UTC",
            },
        }


def _read(env: Mapping[str, str], name: str) -> str | None:
    """The value of ``name``, or the first line of the file that ``NAME_FILE`` names."""
    path = env.get(f"{name}_FILE")
    if not path:
        return env.get(name) or None
    if env.get(name):
        raise ConfigError(f"Set {name} or {name}_FILE, not both.")
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name}_FILE cannot be read: {path}") from error


def _database_url(url: str | None) -> str:
    if not url:
        return "sqlite:///keyporter.db"
    if url.startswith("postgres://"):
        url = "postgresql://" + url.removeprefix("postgres://")
    if not url.startswith(("sqlite://", "postgresql://", "postgresql+psycopg://")):
        raise ConfigError("DATABASE_URL must start with postgresql:// or sqlite://.")
    return url


def _redis_url(url: str | None) -> str | None:
    if not url:
        return None
    # Not at the top: most deployments have none.
    from redis.connection import parse_url

    try:
        parse_url(url)  # type: ignore[no-untyped-call]
    except ValueError as error:
        # Not the error's text: the address may hold a password.
        raise ConfigError("REDIS_URL must be an address like redis://host:6379/0 or rediss://host:6379/0.") from error
    return url


def _smtp_url(url: str | None) -> str | None:
    if not url:
        return None
    try:
        parts = urlsplit(url)
        valid = parts.scheme in {"smtp", "smtps"} and bool(parts.hostname) and parts.port != 0
        valid = valid and parts.path in {"", "/"} and not parts.query and not (parts.password and not parts.username)
    except ValueError:
        valid = False
    if not valid:
        # Not the address itself: it may hold a password.
        raise ConfigError(
            "SMTP_URL must be an address like smtp://user:password@host:587 or smtps://user:password@host:465."
        )
    return url


def _mail_from(text: str | None, smtp_url: str | None) -> str:
    if not text:
        if smtp_url:
            raise ConfigError('SMTP_URL needs MAIL_FROM too, for example "Keyporter <no-reply@example.com>".')
        return Config.MAIL_FROM
    name, address = parseaddr(text)
    if not text.isprintable() or not re.fullmatch(r"[^\s@<>]+@[^\s@<>]+", address) or not name.isprintable():
        raise ConfigError('MAIL_FROM must be an e-mail address, or "Name <address>".')
    return text


def _folder(path: str | None) -> str | None:
    # Flask takes absolute ones only.
    return str(Path(path).absolute()) if path else None


def _number(env: Mapping[str, str], name: str, *, default: int, least: int, most: int) -> int:
    text = env.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        raise ConfigError(f"{name} must be a number from {least} to {most}.")
    return int(text)


def _seconds(env: Mapping[str, str], name: str, *, default: float, least: float, most: float) -> float:
    text = env.get(name) or str(default)
    if not (re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3})?", text) and least <= float(text) <= most):
        raise ConfigError(f"{name} must be a number of seconds from {least:g} to {most:g}.")
    return float(text)


def _choice(env: Mapping[str, str], name: str, choices: tuple[str, ...], default: str, *, fold: Any) -> str:
    value: str = fold(env.get(name) or default)
    if value not in choices:
        raise ConfigError(f"{name} must be one of: {', '.join(choices)}.")
    return value

"""One line per request, and no secret in any line.

Every line passes one formatter, which takes out whatever looks like a secret
and escapes control characters, so that nothing a client sends can forge a line.
"""

from __future__ import annotations

import json
import logging
import re
import time
import uuid
from typing import Any

from flask import Flask, Response, g, has_request_context, request
from sqlalchemy import inspect

log = logging.getLogger("keyporter.request")

# No vowels, no look-alikes: read out on the phone.
_ID_ALPHABET = "23456789BCDFGHJKMNPQRTVWXYZ"

_SECRETS = (
    # Our own tokens, codes and secrets: the kind and the month stay, they help and open nothing.
    # Wherever they stand: in "token%3Dkpa..." no word begins at the k.
    (re.compile(r"(kp[arcsd][0-9A-Za-z]{2})[0-9A-Za-z]{35}"), r"\1(hidden)"),
    # Signed ones: the beginning of every JSON object in base64url.
    (re.compile(r"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]*)*"), "eyJ(hidden)"),
    (re.compile(r"(?i)\b(basic|bearer)\s+[A-Za-z0-9._~+/=-]{6,}"), r"\1 (hidden)"),
    (
        re.compile(
            r"(?i)\b(client_secret|secret|password|code|code_verifier|access_token|refresh_token|device_code|user_code|client_assertion|request_uri|token|csrf_token|state)"
            r"(=|%3D|['\"]?\s*:\s*)('[^'\n]*'|\"[^\"\n]*\"|['\"]?[^\s&'\",;)}]+)"
        ),
        r"\1\2(hidden)",
    ),
)
# Beside the control characters: line separators, and what makes a terminal write from right to left.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_NEEDS_QUOTES = re.compile(r'[\s"=]')

#: What a request line holds beside its message.
_FIELDS = ("tenant", "method", "path", "status", "ms", "client_id", "user_id", "ip", "request_id")


def redacted(text: str) -> str:
    """``text`` without what looks like a secret and without control characters."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return _CONTROL.sub(lambda match: f"\\x{ord(match.group()):02x}", text)


class RedactingFormatter(logging.Formatter):
    """The text format: time, level, logger, message, then ``name=value``."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%SZ")
        self.converter = time.gmtime

    def format(self, record: logging.LogRecord) -> str:
        first, *rest = super().format(record).split("\n")
        first = redacted(first) + _fields_as_text(record)
        # A traceback keeps its lines, indented, so that none can pass for a line of its own.
        return "\n".join([first, *("    " + redacted(line) for line in rest)])


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "ts": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "event": redacted(record.getMessage()),
        }
        for name, value in _fields(record):
            entry[name] = redacted(value) if isinstance(value, str) else value
        if record.exc_info:
            entry["exception"] = "\n".join(map(redacted, self.formatException(record.exc_info).split("\n")))
        return json.dumps(entry, ensure_ascii=False)


def _fields_as_text(record: logging.LogRecord) -> str:
    return "".join(f" {name}={_quoted(value)}" for name, value in _fields(record))


def _fields(record: logging.LogRecord) -> list[tuple[str, object]]:
    """What the line says about its request; every line written during one names tenant and request."""
    known: dict[str, object] = {}
    if has_request_context():
        tenant = g.get("tenant")
        known = {
            "tenant": tenant.slug if tenant else None,
            "client_id": g.get("log_client"),
            "request_id": g.get("request_id"),
        }
    named = ((name, getattr(record, name, known.get(name))) for name in _FIELDS)
    return [(name, value) for name, value in named if value is not None]


def _quoted(value: object) -> object:
    """``value`` redacted; as a JSON string if it holds a space or a line break, which could forge fields and lines."""
    if not isinstance(value, str):
        return value
    value = redacted(value)
    return json.dumps(value, ensure_ascii=False) if _NEEDS_QUOTES.search(value) else value


def logging_config(level: str, log_format: str) -> dict[str, Any]:
    """The configuration for ``logging.config.dictConfig``, from the values of LOG_LEVEL and LOG_FORMAT."""
    formatter = JsonFormatter if log_format == "json" else RedactingFormatter
    # These write whole requests, tokens and statement parameters when they are asked for more.
    quiet = {
        # Lists its own plugins at each start.
        "alembic.runtime.plugins": "WARNING",
        "authlib": "INFO",
        "sqlalchemy": "WARNING",
        "sqlalchemy.engine": "WARNING",
        "sqlalchemy.pool": "WARNING",
    }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"keyporter": {"()": formatter}},
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "stream": "ext://sys.stderr",
                "formatter": "keyporter",
            }
        },
        "root": {"level": level, "handlers": ["stderr"]},
        "loggers": {name: {"level": _higher(level, least)} for name, least in quiet.items()},
    }


def _higher(level: str, least: str) -> str:
    names = logging.getLevelNamesMapping()
    return level if names[level] >= names[least] else least


def init_app(app: Flask) -> None:
    app.before_request(start_request)
    app.after_request(end_request)
    app.context_processor(lambda: {"request_id": g.get("request_id")})


def start_request() -> None:
    """Give the request its id, before anything can fail."""
    g.started = time.perf_counter()
    g.request_id = new_request_id()


def end_request(response: Response) -> Response:
    """Write the request's one line. Path only: the query may hold a code or, in old integrations, a secret."""
    if "request_id" not in g:  # it failed before it started
        start_request()
    response.headers["Request-Id"] = g.request_id
    tenant, user = g.get("tenant"), g.get("user")
    log.info(
        "request",
        extra={
            "tenant": tenant.slug if tenant else None,
            "method": request.method,
            "path": request.path,
            "status": response.status_code,
            "ms": round((time.perf_counter() - g.started) * 1000, 1),
            "client_id": g.get("log_client"),
            "user_id": _id_of(user),
            "ip": request.remote_addr,
            "request_id": g.request_id,
        },
    )
    return response


def _id_of(user: object | None) -> int | None:
    """The id of a User, without asking the database: after a failure its attributes are gone, and so may that be."""
    identity = inspect(user).identity if user is not None else None
    return identity[-1] if identity else None


def new_request_id() -> str:
    """Six characters that a person can read out: "7F3K-21"."""
    number = uuid.uuid4().int
    characters = []
    for _ in range(6):
        number, digit = divmod(number, len(_ID_ALPHABET))
        characters.append(_ID_ALPHABET[digit])
    return "".join(characters[:4]) + "-" + "".join(characters[4:])

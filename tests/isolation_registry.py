"""Everything by which somebody could name or prove something, each with its kind in the matrix, or why it has none.

tests/architecture/test_matrix.py holds these against the mapped models, the URL
map, the forms and the protocol's parameters, both ways: what is new has to be
put here, and what is gone has to go.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path

from flask import Flask
from flask_wtf import FlaskForm
from sqlalchemy import LargeBinary
from wtforms.fields.core import UnboundField

from app.extensions import Model
from app.oauth.requests import TOKEN_PARAMETERS

APP = Path(__file__).parents[1] / "app"


class Nothing(str):
    """Why something is no kind of its own."""


#: What an address may name.
ARGUMENTS: dict[tuple[str, str], str | tuple[str, ...]] = {
    ("admin_api", "client_pk"): "row id of a client",
    ("admin_api", "ref"): "ref of a token",
    ("audit_log", "kind"): Nothing("csv or json"),
    ("client_manager", "client_pk"): "row id of a client",
    ("client_manager", "ref"): "ref of a token",
    ("consent", "name"): "name of an app's logo",
    ("consent", "ref"): ("ref of a connected app", "ref of the shared app"),
    ("members", "user_id"): "row id of a user",
    ("members", "what"): Nothing("one of a few words"),
    ("static", "filename"): Nothing("files of the server"),
    ("tenants", "name"): "name of a logo",
}

#: What a form for programs may hold.
PARAMETERS: dict[str, str | tuple[str, ...]] = {
    "audience": Nothing("not read"),
    "client_assertion": ("client assertion", "used jti"),
    "client_assertion_type": Nothing("the same for everybody"),
    "client_id": ("client ID and secret", "client ID of an app"),
    "client_secret": ("client secret", "twin's client ID and secret"),
    "code": "authorization code",
    "code_verifier": Nothing("worth nothing without its code"),
    "device_code": "device code",
    "grant_type": Nothing("the same for everybody"),
    "redirect_uri": Nothing("the operator's, with the app"),
    "refresh_token": "refresh token",
    "request_uri": "pushed request_uri",
    "resource": "resource",
    "scope": "scope",
    "token": ("access token", "signed access token", "access token of a person", "refresh token"),
    "token_type_hint": Nothing("not read"),
}

_TEXT = Nothing("text that names nothing")

#: What the forms of pages may hold, by form and field.
FIELDS: dict[tuple[str, str], str | tuple[str, ...]] = {
    ("SignInForm", "email"): "e-mail",
    ("SignInForm", "password"): "password",
    ("SignInForm", "submit"): Nothing("a button"),
    ("SignInForm", "remember"): _TEXT,
    ("ConfirmForm", "confirm_password"): "password",
    ("ForgottenForm", "email"): "e-mail",
    ("SetPasswordForm", "password"): Nothing("the password that somebody is to have; the link says who"),
    ("EndSessionForm", "session"): "ref of a session",
    ("ChooseForm", "session"): "ref of a session",
    ("LanguageForm", "language"): _TEXT,
    ("InviteForm", "name"): _TEXT,
    ("InviteForm", "email"): Nothing("the address that somebody is to have"),
    ("InviteForm", "role"): _TEXT,
    ("UserCodeForm", "user_code"): "user code",
    ("DeviceDecisionForm", "user_code"): "user code",
    ("DetailsForm", "name"): _TEXT,
    ("DetailsForm", "description"): _TEXT,
    ("DetailsForm", "client_id"): Nothing("the ID that a client is to have"),
    ("LimitsForm", "owner"): "e-mail",
    ("LimitsForm", "networks"): _TEXT,
    ("LimitsForm", "access"): _TEXT,
    ("LimitsForm", "scopes"): "scope",
    ("EditForm", "seen"): Nothing("which version of the client the page showed"),
    ("SecretFields", "form_id"): "id of a sent form",
    ("SecretFields", "secret"): Nothing("the secret that a client is to have"),
    ("SecretFields", "secret_until"): _TEXT,
    ("ChangeSecretForm", "overlap"): _TEXT,
    ("ChangeSecretForm", "revoke_tokens"): _TEXT,
    ("GenerateTokenForm", "form_id"): "id of a sent form",
    ("GenerateTokenForm", "name"): _TEXT,
    ("GenerateTokenForm", "lasts"): _TEXT,
    ("GenerateTokenForm", "until"): _TEXT,
    ("DeleteClientForm", "name"): Nothing("the client is named by the address; this has to agree"),
}

#: Every table of tenants: what could lead to its rows.
TABLES: dict[str, str | tuple[str, ...]] = {
    "access_token": (
        "access token",
        "signed access token",
        "access token of a person",
        "access token that manages",
        "ref of a token",
    ),
    "audit_event": "e-mail",
    "authorization_code": "authorization code",
    "client": ("client ID and secret", "row id of a client", "row ids in a body", "name of a client"),
    "client_owner": "row id of a client",
    "client_use": "row id of a client",
    "consent": ("ref of a connected app", "ref of the shared app"),
    "device_code": ("device code", "user code"),
    "failed_attempts": ("password", "client secret"),
    "mail": Nothing("sent to the address in the row, shown nowhere"),
    "one_time_link": ("one-time link", "audience of a ticket"),
    "problem": "row id of a client",
    "pushed_request": "pushed request_uri",
    "refresh_token": "refresh token",
    "revocation": ("client ID and secret", "client secret"),
    "scope": "scope",
    "signing_key": "signed access token",
    "token_family": "refresh token",
    "token_use": "ref of a token",
    "used_assertion": "used jti",
    "user_account": ("e-mail", "password", "row id of a user"),
    "user_session": ("session cookie", "CSRF token", "ref of a session"),
}

#: Columns that prove or name something: by their type, or by what they are called.
CREDENTIAL_COLUMN = re.compile(r"digest|secret_value|password|jwks|hint|client_id|email|_uri$|_uris$|challenge")

COLUMNS: dict[tuple[str, str], str | tuple[str, ...]] = {
    ("access_token", "digest"): ("access token", "access token of a person", "ref of a token"),
    ("access_token", "hint"): Nothing("shown to people, taken nowhere"),
    ("app", "client_id"): "client ID of an app",
    ("app", "logo"): "name of an app's logo",
    ("app", "jwks"): Nothing("the operator's, with the app"),
    ("app", "jwks_uri"): Nothing("the operator's, with the app"),
    ("app", "old_secret_value"): Nothing("the operator's, with the app"),
    ("app", "redirect_uris"): Nothing("the operator's, with the app"),
    ("app", "secret_value"): Nothing("the operator's, with the app"),
    ("authorization_code", "code_challenge"): Nothing("worth nothing without its code"),
    ("authorization_code", "digest"): "authorization code",
    ("authorization_code", "redirect_uri"): Nothing("worth nothing without its code"),
    ("authorization_code", "token_digest"): Nothing("says which token the code bought"),
    ("client", "client_id"): ("client ID and secret", "client ID of an app"),
    ("client", "jwks"): "client assertion",
    ("client", "jwks_uri"): "client assertion",
    ("client", "old_secret_value"): "client secret",
    ("client", "secret_value"): ("client secret", "twin's client ID and secret"),
    ("device_code", "digest"): "device code",
    ("device_code", "user_code_digest"): "user code",
    ("failed_attempts", "digest"): Nothing("counts what is tried; nothing is looked up by it"),
    ("one_time_link", "digest"): "one-time link",
    ("problem", "digest"): Nothing("of what stands in the row"),
    ("pushed_request", "digest"): "pushed request_uri",
    ("refresh_token", "digest"): "refresh token",
    ("tenant", "handover_jwks"): Nothing("public keys of the tenant's own row"),
    ("tenant", "logo"): "name of a logo",
    ("tenant", "logo_dark"): "name of a logo",
    ("token_use", "digest"): "ref of a token",
    ("used_assertion", "digest"): "used jti",
    ("user_account", "email"): "e-mail",
    ("user_account", "email_key"): "e-mail",
    ("user_account", "password_hash"): "password",
    ("user_session", "digest"): "session cookie",
}


def arguments(app: Flask) -> set[tuple[str, str]]:
    """Every argument of an address, by the blueprint that it belongs to."""
    return {
        (rule.endpoint.partition(".")[0], argument) for rule in app.url_map.iter_rules() for argument in rule.arguments
    }


def parameters() -> set[str]:
    return set(TOKEN_PARAMETERS)


def fields() -> set[tuple[str, str]]:
    """Every field of a form, by the class that declares it."""
    for path in APP.glob("*/*.py"):
        importlib.import_module(f"app.{path.parent.name}.{path.stem}")
    return {
        (form.__name__, name)
        for form in _subclasses(FlaskForm)
        if form.__module__.startswith("app.")
        for name, value in vars(form).items()
        if isinstance(value, UnboundField)
    }


def credential_columns() -> set[tuple[str, str]]:
    return {
        (table.name, column.name)
        for table in Model.metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, LargeBinary) or CREDENTIAL_COLUMN.search(column.name)
    }


def kinds_in(*registries: dict) -> set[str]:
    """All kinds that those name."""
    named = (entry for registry in registries for entry in registry.values() if not isinstance(entry, Nothing))
    return {kind for entry in named for kind in ((entry,) if isinstance(entry, str) else entry)}


def _subclasses(base: type) -> set[type]:
    direct: set[type] = set(base.__subclasses__())
    return direct.union(*map(_subclasses, direct))

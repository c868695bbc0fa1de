"""Two of everything: makes tenants, people, clients and apps, and acts for them over HTTP.

Handles are plain values: they hold what a person or a program would have been
given (IDs, secrets, passwords), never a database row.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import parse_qs, urlencode, urlsplit

from flask import Flask
from werkzeug.test import Client, TestResponse

from app import credentials
from app.accounts import registry as accounts
from app.clients import app_registry, rules
from app.clients import registry as clients
from app.extensions import db
from app.tenants import registry as tenants

PASSWORD = "correct horse battery"


@dataclass(frozen=True)
class TenantHandle:
    id: int
    slug: str
    host: str
    #: Where a real server listens for it, over plain http on loopback; None is the application itself, over https.
    port: int | None = None

    @property
    def url(self) -> str:
        return f"https://{self.host}" if self.port is None else f"http://{self.host}:{self.port}"


@dataclass(frozen=True)
class UserHandle:
    tenant: TenantHandle
    id: int
    email: str
    name: str
    password: str = PASSWORD


@dataclass(frozen=True)
class ClientHandle:
    tenant: TenantHandle
    pk: int
    client_id: str
    secret: str


@dataclass(frozen=True)
class AppHandle:
    id: int
    client_id: str
    secret: str | None
    redirect_uri: str
    name: str


class World:
    """Makes what a test needs, each call in a transaction of its own."""

    def __init__(self, app: Flask) -> None:
        self.app = app

    def tenant(
        self,
        slug: str = "acme",
        *,
        name: str | None = None,
        host: str | None = None,
        port: int | None = None,
        **settings: str,
    ) -> TenantHandle:
        host = host or f"{slug}.example"
        with self.app.app_context():
            tenant = tenants.create_tenant(slug, name or slug.title(), [host], now())
            for key, value in settings.items():
                tenants.change_setting(tenant, key, value)
            db.session.commit()
            return TenantHandle(tenant.id, slug, host, port)

    def site(self, port: int) -> TenantHandle:
        """A tenant that a real server on ``port`` serves; its name is nobody else's."""
        slug = f"site-{secrets.token_hex(6)}"
        return self.tenant(slug, name="Acme", host=f"{slug}.localhost", port=port)

    def user(
        self,
        tenant: TenantHandle,
        email: str = "bo@acme.example",
        *,
        name: str = "Bo Lind",
        admin: bool = False,
    ) -> UserHandle:
        with self.app.app_context():
            user = accounts.create_user(tenant.id, email, name, now(), admin=admin)
            user.password_hash = _password_hash()
            db.session.commit()
            return UserHandle(tenant, user.id, email, name)

    def admin(self, tenant: TenantHandle, email: str = "ana@acme.example", name: str = "Ana Ruiz") -> UserHandle:
        return self.user(tenant, email, name=name, admin=True)

    def client(
        self,
        tenant: TenantHandle,
        client_id: str | None = None,
        *,
        secret: str | None = None,
        name: str = "Power BI",
        **options: Any,
    ) -> ClientHandle:
        """An API client with a generated secret, or with the ``secret`` that somebody typed."""
        with self.app.app_context():
            client_id = client_id or f"c_{secrets.token_hex(6)}"
            new = rules.check_secret(secret, client_id) if secret else rules.generate_secret()
            client = clients.create_api_client(
                tenant.id,
                name=name,
                client_id=client_id,
                secret=new.stored,
                created_by="Ana Ruiz",
                now=now(),
                **options,
            )
            db.session.commit()
            return ClientHandle(tenant, client.id, client_id, new.text)

    def oauth_app(
        self,
        *on: TenantHandle,
        name: str = "Field App",
        redirect_uris: Sequence[str] = ("https://fieldapp.example/callback",),
        public: bool = False,
        everywhere: bool = False,
        **options: Any,
    ) -> AppHandle:
        with self.app.app_context():
            secret = None if public else rules.generate_secret()
            app = app_registry.create_app(
                name=name,
                redirect_uris=redirect_uris,
                now=now(),
                secret=secret.stored if secret else None,
                publisher="Field Inc.",
                **options,
            )
            if everywhere:
                app_registry.turn_on_everywhere(app, now())
            for tenant in on:
                app_registry.turn_on(app, tenant.id, now())
            db.session.commit()
            uri = redirect_uris[0] if redirect_uris else ""
            return AppHandle(app.id, app.client_id, secret.text if secret else None, uri, name)

    def run(self, work: Any) -> Any:
        """What ``work()`` returns inside an application context, committed."""
        with self.app.app_context():
            result = work()
            db.session.commit()
            return result


class Server(Protocol):
    """What can be called over HTTP: the application in this process, or a GunicornServer."""

    def test_client(self, use_cookies: bool = True) -> Client: ...


class Machine:
    """A program that talks to the machine endpoints of one tenant, without cookies."""

    def __init__(self, app: Server, tenant: TenantHandle) -> None:
        self._client = app.test_client(use_cookies=False)
        self.tenant = tenant

    def open(self, path: str, **options: Any) -> TestResponse:
        return self._client.open(path, base_url=self.tenant.url, **options)

    def post_token(self, body: str | bytes | dict[str, str], **options: Any) -> TestResponse:
        """A form to the token endpoint; a string is sent byte for byte."""
        data = urlencode(body) if isinstance(body, dict) else body
        options.setdefault("content_type", "application/x-www-form-urlencoded")
        return self.open("/oauth2/token", method="POST", data=data, **options)

    def request_token(self, client: ClientHandle, **more: str) -> TestResponse:
        """RFC 6749 section 4.4.2 with the secret in the body, as the seed has it."""
        return self.post_token(
            {
                "grant_type": "client_credentials",
                "client_id": client.client_id,
                "client_secret": client.secret,
                **more,
            }
        )

    def token(self, client: ClientHandle, **more: str) -> str:
        response = self.request_token(client, **more)
        assert response.status_code == 200, response.text
        return response.json["access_token"]

    def redeem(self, app: AppHandle, code: str, **more: str | None) -> TestResponse:
        """RFC 6749 section 4.1.3; ``name=None`` leaves a parameter out."""
        body = {
            "grant_type": "authorization_code",
            "client_id": app.client_id,
            "client_secret": app.secret,
            "redirect_uri": app.redirect_uri,
            "code": code,
            **more,
        }
        return self.post_token({name: value for name, value in body.items() if value is not None})

    def refresh(self, app: AppHandle, refresh_token: str, **more: str | None) -> TestResponse:
        """RFC 6749 section 6; ``name=None`` leaves a parameter out."""
        body = {
            "grant_type": "refresh_token",
            "client_id": app.client_id,
            "client_secret": app.secret,
            "refresh_token": refresh_token,
            **more,
        }
        return self.post_token({name: value for name, value in body.items() if value is not None})

    def post_form(self, path: str, body: dict[str, str | None], **options: Any) -> TestResponse:
        """A form to a machine endpoint; a parameter that is None is left out."""
        data = urlencode({name: value for name, value in body.items() if value is not None})
        options.setdefault("content_type", "application/x-www-form-urlencoded")
        return self.open(path, method="POST", data=data, **options)

    def authorize_device(self, app: AppHandle, **more: str | None) -> TestResponse:
        """RFC 8628 section 3.1; ``name=None`` leaves a parameter out."""
        body = {"client_id": app.client_id, "client_secret": app.secret, **more}
        return self.post_form("/oauth2/device_authorization", body)

    def poll(self, app: AppHandle, device_code: str | None, **more: str | None) -> TestResponse:
        """RFC 8628 section 3.4; ``name=None`` leaves a parameter out."""
        body = {
            "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
            "client_id": app.client_id,
            "client_secret": app.secret,
            "device_code": device_code,
            **more,
        }
        return self.post_form("/oauth2/token", body)

    def revoke(self, client: ClientHandle | AppHandle, token: str, **more: str) -> TestResponse:
        """RFC 7009 section 2.1."""
        body = {"client_id": client.client_id, "client_secret": client.secret, "token": token, **more}
        return self.post_form("/oauth2/revoke", body)

    def introspect(self, client: ClientHandle | AppHandle, token: str, **more: str) -> TestResponse:
        """RFC 7662 section 2.1."""
        body = {"client_id": client.client_id, "client_secret": client.secret, "token": token, **more}
        return self.post_form("/oauth2/introspect", body)

    def read_feed(self, client: ClientHandle | AppHandle, **question: str) -> TestResponse:
        """What ended, as a resource server asks for it."""
        path = "/oauth2/revocations" + (f"?{urlencode(question)}" if question else "")
        return self.open(path, headers=basic(client.client_id, client.secret or ""))

    def verify(self, token: str) -> TestResponse:
        return self.open("/oauth2/verify", headers={"Authorization": f"Bearer {token}"})

    def works(self, token: str) -> bool:
        status = self.verify(token).status_code
        assert status in {200, 401}
        return status == 200


class Browser:
    """A person's browser at one tenant: keeps cookies, sends Referer, fills in the CSRF token of the page it shows."""

    def __init__(self, app: Server, tenant: TenantHandle) -> None:
        self.client = app.test_client()
        self.tenant = tenant
        self.page: TestResponse | None = None

    def get(self, path: str, **options: Any) -> TestResponse:
        self.page = self.client.get(path, base_url=self.tenant.url, **options)
        return self.page

    def post(self, path: str, data: dict[str, Any] | None = None, **options: Any) -> TestResponse:
        """Send a form of the page that is shown, from that page."""
        form = {"csrf_token": self.csrf_token(), **(data or {})}
        headers = {"Referer": f"{self.tenant.url}/", **options.pop("headers", {})}
        self.page = self.client.post(path, base_url=self.tenant.url, data=form, headers=headers, **options)
        return self.page

    def csrf_token(self) -> str:
        assert self.page is not None, "no page is shown"
        found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', self.page.text)
        return found.group(1) if found else ""

    def sign_in(self, user: UserHandle, *, password: str | None = None, to: str | None = None) -> TestResponse:
        address = "/login" + (f"?{urlencode({'next': to})}" if to else "")
        self.get(address)
        return self.post(address, {"email": user.email, "password": password or user.password})

    def sign_out(self) -> TestResponse:
        self.get("/account/apps")
        return self.post("/logout")

    def allow(self, address: str) -> TestResponse:
        """Open an authorization request and press Allow."""
        page = self.get(address)
        assert page.status_code == 200, page.text
        return self.post(address, {"decision": "allow"})

    def decide(self, user_code: str, decision: str) -> TestResponse:
        """Type what a device shows and press a button: ``decision`` is "allow" or "cancel"."""
        self.get("/device")
        page = self.post("/device", {"user_code": user_code})
        assert page.status_code == 200, page.text
        return self.post("/device/answer", {"user_code": user_code, "decision": decision})

    def get_code(self, app: AppHandle, **more: str) -> str:
        """A fresh code of the signed-in person for ``app``."""
        address = authorize_address(app, **more)
        response = self.get(address)
        if response.status_code == 200:
            response = self.post(address, {"decision": "allow"})
        return answer_of(response)["code"]


def authorize_address(app: AppHandle, **more: str | None) -> str:
    """Path and query of an authorization request; ``name=None`` leaves a parameter out."""
    parameters = {
        "response_type": "code",
        "client_id": app.client_id,
        "redirect_uri": app.redirect_uri,
        **more,
    }
    return "/oauth2/authorize?" + urlencode({name: value for name, value in parameters.items() if value is not None})


def answer_of(response: TestResponse) -> dict[str, str]:
    """The parameters that a redirect brings back to the app."""
    assert response.status_code == 303, (response.status_code, response.text)
    query = parse_qs(urlsplit(response.headers["Location"]).query, strict_parsing=True, keep_blank_values=True)
    assert all(len(values) == 1 for values in query.values())
    return {name: values[0] for name, values in query.items()}


def pkce_pair() -> tuple[str, str]:
    """A verifier and its S256 challenge, made as RFC 7636 appendix A makes them, without any code of ours."""
    verifier = secrets.token_urlsafe(32)
    digest = hashlib.sha256(verifier.encode()).digest()
    return verifier, base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def basic(client_id: str, secret: str) -> dict[str, str]:
    encoded = base64.b64encode(f"{client_id}:{secret}".encode()).decode()
    return {"Authorization": f"Basic {encoded}"}


@functools.cache
def _password_hash() -> str:
    """Hashed once: hashing is slow on purpose, and nearly every test has people."""
    return credentials.hash_password(PASSWORD)


def now() -> int:
    return int(time.time())

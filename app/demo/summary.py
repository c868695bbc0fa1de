"""What `flask demo` prints: addresses, people, clients, and commands that work as pasted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.request import getproxies

from app.demo.data import DemoData, Login, TenantLogins
from app.tenants.registry import base_url

_CHANGED = "(changed since)"


def describe(data: DemoData, port: int, sample_app: str) -> str:
    """The whole text; ``sample_app`` is the sample app's address."""
    return "\n".join(_lines(data, port, sample_app)) + "\n"


def _lines(data: DemoData, port: int, sample_app: str) -> Iterator[str]:
    yield "The Keyporter demo, on this machine only. Ctrl+C ends it; the next start has the same passwords."
    for logins in data.tenants:
        yield ""
        yield from _tenant(logins, port)
    yield ""
    yield f"{data.app.name} (sample app)   {sample_app}/"
    yield "  Turned on for both. It walks the authorization code flow step by step."
    yield from _table([data.app], lambda login: ("Client ID", login.id, _secret(login)))
    yield ""
    yield from _commands(data.tenants[0], port)
    yield ""
    yield f"Mails are caught, not sent:   {sample_app}/mails"
    yield ""
    hosts = " ".join(logins.tenant.host for logins in data.tenants)
    yield "If a browser or program does not find these addresses, add this line to /etc/hosts:"
    yield f"  127.0.0.1 {hosts}"


def _tenant(logins: TenantLogins, port: int) -> Iterator[str]:
    yield f"{logins.tenant.name}   {base_url(logins.tenant.host, port)}/"
    yield from _table(logins.people, lambda login: (login.role.capitalize(), login.id, _secret(login), login.name))
    yield from _table(logins.clients, lambda login: ("API client", login.id, _secret(login), login.name))


def _commands(logins: TenantLogins, port: int) -> Iterator[str]:
    host, address = logins.tenant.host, base_url(logins.tenant.host, port)
    client = next((client for client in logins.clients if client.works), logins.clients[0])
    # The address is given along, because not every system resolves *.localhost; and no proxy can reach it.
    proxy = " --noproxy '*'" if {"http", "all"} & getproxies().keys() else ""
    curl = f"curl -s{proxy} --resolve {host}:{port}:127.0.0.1"
    token = (
        f"{curl} {address}/oauth2/token -d grant_type=client_credentials"
        f" -d client_id={client.id} -d client_secret={client.secret}"
    )
    yield f"Get a token for {client.name}:"
    yield f"  {token}"
    yield ""
    yield "Call the sample API with a fresh one:"
    yield f"""  TOKEN=$({token} | sed 's/.*"access_token": *"\\([^"]*\\)".*/\\1/')"""
    yield f'  {curl} {address}/api/v1/reports -H "Authorization: Bearer $TOKEN"'


def _secret(login: Login) -> str:
    return login.secret if login.works else _CHANGED


def _table(logins: list[Login], cells: Callable[[Login], tuple[str, ...]]) -> Iterator[str]:
    """One line per login, in columns as wide as in every other table of the text."""
    for login in logins:
        first, second, *others = cells(login)
        third, *last = others
        yield f"  {first:<11} {second:<22}  {third:<40}  {' '.join(last)}".rstrip()

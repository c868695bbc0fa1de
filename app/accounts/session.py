"""Who is signed in: the cookie, the session row behind it, and the guards of the pages.

One browser may hold sessions of several people of the tenant; one of them is current, the others wait.

The cookie is Flask's signed one, with the tenant in the signature's salt: a
cookie, and with it a CSRF token, copied from one tenant's host to another's is
no cookie there. What it holds is the id of a row in ``user_session``; signing
out deletes the row, so a copy of the cookie is worth nothing afterwards.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple, ParamSpec, cast
from urllib.parse import urlsplit

from flask import Flask, abort, current_app, g, redirect, request, session, url_for
from flask.sessions import NullSession, SecureCookieSession, SecureCookieSessionInterface, SessionMixin
from flask.typing import ResponseReturnValue
from flask.wrappers import Request
from itsdangerous import URLSafeTimedSerializer
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException

from app import credentials, languages
from app.accounts import registry
from app.accounts.models import User
from app.attempts import budget
from app.attempts.budget import Budget
from app.audit.log import Actor
from app.languages import gettext as _
from app.machine_paths import is_machine_path
from app.tenants.current import current_tenant, find_tenant

P = ParamSpec("P")

#: Seconds for which a browser stays signed in; the second, if the person wants to be kept signed in on it.
SESSION_SECONDS = 12 * 3600
KEPT_SECONDS = 30 * 86_400

#: Seconds for which a password that was given counts for what is dangerous.
CONFIRMED_SECONDS = 10 * 60

#: Seconds for which a new sign-in counts for the request that asked for it, and how many of these a browser remembers.
NEW_SIGN_IN_SECONDS = 15 * 60
_MOST_AWAITED = 5

_SESSION_ID = "sid"
_AWAITED = "awaited"
#: Epoch seconds until which the browser keeps the cookie; without it, until it is closed.
_UNTIL = "until"

#: Which answers of another sign-in service this browser waits for, how many of them, and for how many seconds.
_ASKED = "asked"
_MOST_ASKED = 2
#: Characters of the address to go on to: a cookie has 4 kB.
_LONGEST_NEXT = 1_200
ASKED_SECONDS = 15 * 60

_AGENT_MAX_LENGTH = 300

#: The sessions of other people that this browser holds, each with its ``_UNTIL``, the one that was left last at the
#: end; and of how many people it holds one, the current one's included: a cookie has 4 kB.
_OTHERS = "others"
MOST_ACCOUNTS = 5

#: Begins the names of requests that wait for a choice among them: signing in is one, and so is choosing.
CHOICE = "choice:"


class TenantSessionInterface(SecureCookieSessionInterface):
    """Flask's signed cookie, bound to the tenant of the host.

    Host-only always; on https marked Secure and prefixed ``__Host-``, which
    stops a neighbouring host from setting it (RFC 6265bis section 4.1.3).
    """

    def get_cookie_name(self, app: Flask) -> str:
        return "__Host-keyporter" if request.is_secure else "keyporter"

    def get_cookie_secure(self, app: Flask) -> bool:
        return request.is_secure

    def get_cookie_domain(self, app: Flask) -> None:
        return None

    def get_cookie_path(self, app: Flask) -> str:
        return "/"

    def get_cookie_samesite(self, app: Flask) -> str:
        return "Lax"

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        # None is Flask's session that cannot be written. Machine endpoints read no cookie, and the tenant must not
        # be looked up for them here: Flask opens the session before it knows which view will answer.
        if is_machine_path(request.path) or request.path.startswith("/static/"):
            return None
        try:
            tenant = find_tenant()
        except SQLAlchemyError:
            # Raised again, and answered, where the request enters its tenant: an error in here has no answer.
            return None
        return None if tenant is None else super().open_session(app, request)

    def get_expiration_time(self, app: Flask, session: SessionMixin) -> datetime | None:
        # Whoever did not want to be kept goes when the browser is closed, and takes the others along.
        untils = [until for _session_id, until in _entries(session)]
        kept = [until for until in untils if isinstance(until, int)]
        return datetime.fromtimestamp(max(kept), UTC) if kept and len(kept) == len(untils) else None

    def get_signing_serializer(self, app: Flask) -> URLSafeTimedSerializer | None:
        tenant = find_tenant()
        if tenant is None:
            return None
        keys = [*app.config["SECRET_KEY_FALLBACKS"], app.config["SECRET_KEY"]]
        return URLSafeTimedSerializer(
            keys,
            salt=f"session of tenant {tenant.id}",
            serializer=self.serializer,
            signer_kwargs={"key_derivation": self.key_derivation, "digest_method": self.digest_method},
        )


def init_app(app: Flask) -> None:
    app.session_interface = TenantSessionInterface()


def sign_in(user: User, *, keep: bool = False, confirmed_at: int | None = None) -> None:
    """Start a new session for ``user``; what the browser had before of them, CSRF token included, is over.

    Sessions of other people wait. ``keep``: for 30 days, and after the browser was
    closed too. ``confirmed_at``: when the person last proved who they are, if that is not now.
    """
    now = int(time.time())
    awaited = _awaited()
    _start_over(_end_those_of(user, now))
    if user.language:
        languages.remember(user.language)
    if awaited:
        # Who was let in by another service without a proof of now has not signed in anew, but has chosen.
        is_fresh = confirmed_at is None or now - confirmed_at < CONFIRMED_SECONDS
        session[_AWAITED] = [[name, now if is_fresh or name.startswith(CHOICE) else None] for name, _before in awaited]
    session_id = credentials.new_session_id()
    session[_SESSION_ID] = session_id
    expires_at = now + (KEPT_SECONDS if keep else SESSION_SECONDS)
    if keep:
        session[_UNTIL] = expires_at
    registry.add_session(
        user,
        credentials.digest(session_id),
        now,
        expires_at,
        confirmed_at=confirmed_at,
        address=request.remote_addr,
        agent=agent_of_request(),
    )
    g.user = user


def sign_out() -> None:
    """End the current session, on the server and in the cookie; others wait. The browser goes on in its language."""
    session_id = session.get(_SESSION_ID)
    if isinstance(session_id, str):
        registry.end_session(current_tenant.id, credentials.digest(session_id))
    _start_over(_others())


def sign_out_of_all() -> list[User]:
    """End every session that this browser holds; returns whose they were."""
    ended = [account.user for account in list_accounts() if account.is_signed_in]
    for session_id, _until in _entries(session):
        registry.end_session(current_tenant.id, credentials.digest(session_id))
    _start_over([])
    return ended


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who is or was signed in with this browser."""

    user: User
    is_signed_in: bool
    digest: bytes
    is_current: bool


def has_accounts() -> bool:
    """True if the browser holds a session of anybody."""
    return bool(_entries(session))


def list_accounts() -> list[Account]:
    """Whose sessions this browser holds, the current one first. One statement."""
    digests = [credentials.digest(session_id) for session_id, _until in reversed(_entries(session))]
    found = registry.find_owners(current_tenant.id, digests, int(time.time())) if digests else {}
    own = digest_of_session()
    return [Account(*found[digest], digest, is_current=digest == own) for digest in digests if digest in found]


def choose(digest: bytes) -> User | None:
    """Go on as whoever the session of that ``digest`` is; None if the browser has none such, or it has ended.

    It goes on under another id and with another CSRF token, so a form of before is
    refused; and without what the password was given for: nothing that one person
    proved counts for another. The cookie stays as it is if nobody was chosen.
    """
    now = int(time.time())
    chosen = next((entry for entry in _entries(session) if credentials.digest(entry[0]) == digest), None)
    found = registry.find_signed_in_user(current_tenant.id, digest, now) if chosen else None
    if chosen is None or found is None:
        return None
    awaited = _awaited()
    if digest != digest_of_session():
        new_id = credentials.new_session_id()
        if not registry.resume_session(current_tenant.id, digest, credentials.digest(new_id)):
            return None
        _start_over([entry for entry in _entries(session) if entry[0] != chosen[0]])
        session[_SESSION_ID] = new_id
        if chosen[1] is not None:
            session[_UNTIL] = chosen[1]
        languages.remember(found[0].language)
        awaited = [[name, None] for name, _before in awaited]
    session[_AWAITED] = [[name, now if name.startswith(CHOICE) else at] for name, at in awaited]
    g.user = found[0]
    return found[0]


def _start_over(others: list[list[Any]]) -> None:
    """An empty cookie, without anybody's CSRF token, that remembers its language and those who wait."""
    language = languages.remembered()
    session.clear()
    languages.remember(language)
    if others:
        session[_OTHERS] = others
    g.user = None


def _end_those_of(user: User, now: int) -> list[list[Any]]:
    """End the sessions of ``user`` in this browser, and those that are too many; returns the entries that are left."""
    entries = _entries(session)
    digests = {entry[0]: credentials.digest(entry[0]) for entry in entries}
    found = registry.find_owners(current_tenant.id, list(digests.values()), now) if entries else {}
    owners = {session_id: found[digest] for session_id, digest in digests.items() if digest in found}
    left = [entry for entry in entries if entry[0] in owners and owners[entry[0]][0].id != user.id]
    left = left[-(MOST_ACCOUNTS - 1) :]
    for entry in entries:
        if entry not in left:
            registry.end_session(current_tenant.id, digests[entry[0]])
    return left


def _others() -> list[list[Any]]:
    return cast("list[list[Any]]", session.get(_OTHERS, []))


def _entries(cookie: SessionMixin) -> list[list[Any]]:
    """Id and ``_UNTIL`` of every session in the cookie, the current one last."""
    current = cookie.get(_SESSION_ID)
    return [*cookie.get(_OTHERS, []), *([[current, cookie.get(_UNTIL)]] if isinstance(current, str) else [])]


def agent_of_request() -> str:
    """What the browser calls itself, as much of it as is kept."""
    return "".join(letter for letter in request.user_agent.string if letter.isprintable())[:_AGENT_MAX_LENGTH]


def digest_of_session() -> bytes | None:
    """By which the session of this request is kept; None if the browser has none."""
    session_id = session.get(_SESSION_ID)
    return credentials.digest(session_id) if isinstance(session_id, str) else None


def confirm() -> bool:
    """The person has given the password again; False if the session has ended meanwhile.

    It goes on under another id: copies of its cookie are over.
    """
    session_id, new_id = session[_SESSION_ID], credentials.new_session_id()
    digests = credentials.digest(session_id), credentials.digest(new_id)
    if not registry.confirm_session(current_tenant.id, *digests, int(time.time())):
        return False
    session[_SESSION_ID] = new_id
    return True


def is_recently_confirmed() -> bool:
    """True if this browser's session was signed in, or the password given again, within CONFIRMED_SECONDS."""
    session_id = session.get(_SESSION_ID)
    if not isinstance(session_id, str):
        return False
    confirmed_at = registry.find_confirmation_time(current_tenant.id, credentials.digest(session_id))
    return confirmed_at is not None and time.time() - confirmed_at < CONFIRMED_SECONDS


class Asked(NamedTuple):
    """What this browser asked another sign-in service for."""

    #: The nonce's digest; empty if it did not ask.
    nonce: str = ""
    #: Where to go on.
    next_url: str | None = None
    #: True: a form was sent before it, which was not carried out.
    interrupted: bool = False


def ask_another_service(next_url: str | None, *, interrupted: bool = False) -> str:
    """Begin a sign-in that another service does: the nonce that ties its answer to this browser."""
    nonce = credentials.new_nonce()
    kept = next_url if next_url and len(next_url) <= _LONGEST_NEXT else None
    asked = [credentials.digest(nonce).hex(), kept, int(time.time()), interrupted]
    session[_ASKED] = [*session.get(_ASKED, []), asked][-_MOST_ASKED:]
    return nonce


def take_asked(nonce: str) -> Asked:
    """What this browser asked for with ``nonce`` lately, if it did. It is spent by it."""
    digest, now = credentials.digest(nonce).hex(), int(time.time())
    asked = session.get(_ASKED, [])
    session[_ASKED] = [kept for kept in asked if kept[0] != digest]
    found = next((kept for kept in asked if kept[0] == digest and 0 <= now - kept[2] <= ASKED_SECONDS), None)
    return Asked(found[0], found[1], interrupted=bool(found[3:] and found[3])) if found else Asked()


def budgets_of_password(email: str) -> tuple[Budget, ...]:
    """What a try at the password of ``email`` counts against, in this request: the address and the account."""
    return (budget.ADDRESS, budget.source_of(request.remote_addr)), (budget.ACCOUNT, registry.email_key(email))


def await_new_sign_in(name: str) -> None:
    """Remember in this browser that the request of that ``name`` waits until somebody gives a password.

    A session from before does not count, however young. Only the last few are
    remembered: whoever forgets one is asked once more.
    """
    session[_AWAITED] = [*(kept for kept in _awaited() if kept[0] != name), [name, None]][-_MOST_AWAITED:]


def has_new_sign_in(name: str) -> bool:
    """True if somebody signed in after the request of that ``name`` asked for it, and not long ago."""
    signed_in_at = dict(_awaited()).get(name)
    return signed_in_at is not None and 0 <= time.time() - signed_in_at <= NEW_SIGN_IN_SECONDS


def spend_new_sign_in(name: str) -> str | None:
    """The request of that ``name`` is being answered: the next one like it asks again.

    A copy of the cookie would remember the sign-in all the same, so the session gets
    another id: the one returned, for go_on_as(). None if nothing was remembered.
    """
    session_id = session.get(_SESSION_ID)
    if not isinstance(session_id, str) or not has_new_sign_in(name):
        return None
    new_id = credentials.new_session_id()
    digests = credentials.digest(session_id), credentials.digest(new_id)
    return new_id if registry.rename_session(current_tenant.id, *digests) else None


def go_on_as(session_id: str, *names: str) -> None:
    """Put into the cookie what spend_new_sign_in did, once that is committed."""
    session[_SESSION_ID] = session_id
    session[_AWAITED] = [awaited for awaited in _awaited() if awaited[0] not in names]


def _awaited() -> list[list[Any]]:
    """Name, and epoch seconds of the sign-in that followed: None while there was none."""
    return cast("list[list[Any]]", session.get(_AWAITED, []))


def find_sign_in_time() -> int | None:
    """Epoch seconds at which this browser's session began; None if nobody is signed in."""
    session_id = session.get(_SESSION_ID)
    if not isinstance(session_id, str):
        return None
    return registry.find_sign_in_time(current_tenant.id, credentials.digest(session_id))


def find_signed_in_user() -> User | None:
    """The user of this request, looked up once."""
    if "user" not in g:
        digest = digest_of_session()
        found = None if digest is None else registry.find_signed_in_user(current_tenant.id, digest, int(time.time()))
        g.user, g.session_seen_at = found or (None, None)
    return cast("User | None", g.user)


def get_signed_in_user() -> User:
    """The user of this request, in a view that login_required or admin_required guards. LookupError elsewhere."""
    user = find_signed_in_user()
    if user is None:
        raise LookupError("nobody is signed in")
    return user


def describe_visitor() -> dict[str, object]:
    """For every page's frame: who is signed in, and if it may hold forms.

    Nobody is, and it may not, on an error page that belongs to no tenant, or to a machine.
    """
    return {
        "signed_in_user": find_signed_in_user() if g.get("tenant") else None,
        "takes_forms": bool(g.get("tenant")) and not isinstance(session, NullSession),
    }


def login_required(
    view: Callable[P, ResponseReturnValue],
) -> Callable[P, ResponseReturnValue]:
    """Only for people who are signed in; others are sent to sign-in and come back."""

    @functools.wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
        if find_signed_in_user() is None:
            return ask_to_sign_in()
        return view(*args, **kwargs)

    return guarded


def admin_required(
    view: Callable[P, ResponseReturnValue],
) -> Callable[P, ResponseReturnValue]:
    """Only for the tenant's admins; members get 403 and learn who the admins are."""

    @functools.wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
        user = find_signed_in_user()
        if user is None:
            return ask_to_sign_in()
        if not user.is_admin:
            names = ", ".join(admin.name for admin in registry.list_admins(current_tenant.id))
            abort(403, _("Only admins may see this. Your admins: %(names)s.", names=names or _("nobody yet")))
        return view(*args, **kwargs)

    return guarded


def ask_to_sign_in(next_url: str | None = None) -> ResponseReturnValue:
    """Send the browser to sign-in and, after it, to ``next_url``: this page unless said otherwise.

    A form that outlived its session cannot be sent again by a redirect, so
    after a POST the person starts from the page itself.
    """
    if next_url is None:
        next_url = request.full_path.rstrip("?")
    return redirect(url_for("accounts.sign_in", next=next_url), 303)


def local_path(url: str | None) -> str | None:
    """``url`` if it leads to a path of this host, else None.

    Browsers read ``//host``, ``/\\host`` and addresses with control characters
    as other hosts, whatever a URL parser says.
    """
    if not url or not url.startswith("/") or url.startswith(("//", "/\\")):
        return None
    if "\\" in url or any(ord(character) < 0x21 or ord(character) == 0x7F for character in url):
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return None if parts.scheme or parts.netloc or parts.path.startswith("//") else url


def page_before() -> str | None:
    """The page of this host that led here, by the Referer: an address in the page would show what it holds."""
    try:
        parts = urlsplit(request.referrer or "")
    except ValueError:
        return None
    if parts.netloc != request.host:
        return None
    return local_path(parts.path + (f"?{parts.query}" if parts.query else "")) if has_page(parts.path) else None


def has_page(path: str) -> bool:
    """True if a browser can open ``path``: it is not only the answer to a form, nor nothing that is here."""
    try:
        current_app.url_map.bind(request.host).match(path, method="GET")
    except HTTPException:
        return False
    return True


def current_actor() -> Actor:
    """The signed-in user, for the audit log."""
    user = get_signed_in_user()
    return Actor(kind="user", name=user.name, id=user.id, address=request.remote_addr, request_id=g.get("request_id"))

"""The guard as ASGI middleware: the event loop goes on, connections keep to themselves."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from keyporter import AccessToken, Call, Chain, Issuer, asgi
from keyporter.testing import FakeTokens
from tests.keyporter.services import Lookup, call_asgi, into, make_scope, once

PATIENCE = 30


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


async def tells(scope, receive, send):
    """Answers with the client of its token."""
    token = scope[asgi.TOKEN]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": token.client_id.encode() if token else b"nobody"})


class Slow(FakeTokens):
    """Asks somebody who takes as long as the test wants."""

    find_remembered = None

    def __init__(self):
        super().__init__()
        self.asked, self.answers = threading.Event(), threading.Event()
        self.threads: set[int] = set()

    def find(self, token: str, call: Call | None = None) -> AccessToken | None:
        self.threads.add(threading.get_ident())
        self.asked.set()
        assert self.answers.wait(PATIENCE / 3), "the event loop stood still"
        return super().find(token, call)


class Remembers(FakeTokens):
    """Knows everything without asking, and notes in which thread."""

    def __init__(self):
        super().__init__()
        self.threads: set[int] = set()

    def find(self, token: str, call: Call | None = None) -> AccessToken | None:
        self.threads.add(threading.get_ident())
        return super().find(token, call)


class Silent(Slow):
    """Has to ask about everything, and nobody may wait for it."""

    def find(self, token: str, call: Call | None = None) -> AccessToken | None:
        raise AssertionError("asked")


async def go_on_meanwhile(app, lookup, token):
    """The answer to a call whose look-up waits; another call is answered first."""
    waiting = asyncio.create_task(call_asgi(app, "GET", "/", headers=bearer(token)))
    assert await asyncio.to_thread(lookup.asked.wait, PATIENCE)
    other = await call_asgi(app, "GET", "/open")
    assert other.status == 200
    assert not waiting.done()
    lookup.answers.set()
    return await waiting


def test_the_loop_goes_on_while_a_token_is_asked_about():
    lookup = Slow()
    app = asgi.RequireOAuth(tells, lookup, open_paths=["/open"])

    answer = asyncio.run(go_on_meanwhile(app, lookup, lookup.issue(client_id="x")))

    assert (answer.status, answer.body) == (200, b"x")
    assert threading.get_ident() not in lookup.threads


def test_what_is_remembered_costs_no_thread():
    lookup = Remembers()
    app = asgi.RequireOAuth(tells, Chain(lookup, Silent()))

    answer = asyncio.run(call_asgi(app, "GET", "/", headers=bearer(lookup.issue(client_id="x"))))

    assert answer.body == b"x"
    assert lookup.threads == {threading.get_ident()}


def test_a_chain_remembers_only_as_far_as_all_before_do():
    first, second, call = FakeTokens(), Remembers(), Call("h")
    token = [second.issue() for _ in range(3)][-1]

    assert Chain(first, second).find_remembered(token, call)[1] is second.find(token)
    assert Chain(first, second).find_remembered("x", call) == (True, None)
    assert Chain(first, Slow(), second).find_remembered(token, call) == (False, None)
    assert Chain(second, Slow()).find_remembered(token, call)[0]


def test_calls_at_the_same_time_never_see_each_others_token():
    tokens = FakeTokens()
    seen: dict[str, set[str]] = {}

    async def meet(scope, receive, send):
        await scope["meeting"].wait()
        seen.setdefault(scope["path"], set()).add(scope[asgi.TOKEN].client_id)

    app = asgi.RequireOAuth(meet, tokens)

    async def run():
        meeting = asyncio.Barrier(2)
        for _ in range(50):
            scopes = [make_scope("http", f"/{name}", "", bearer(tokens.issue(client_id=name))) for name in "xy"]
            await asyncio.gather(
                *(app({**scope, "method": "GET", "meeting": meeting}, once(None), into([])) for scope in scopes)
            )

    asyncio.run(asyncio.wait_for(run(), PATIENCE))

    assert seen == {"/x": {"x"}, "/y": {"y"}}


def test_what_the_application_raises_goes_through_and_what_it_sends_stays():
    tokens = FakeTokens()
    sent: list[Any] = []
    body = {"type": "http.response.body", "body": b"x", "more_body": True}

    async def fails(scope, receive, send):
        assert receive is receives
        await send({"type": "http.response.start", "status": 200, "headers": [(b"Cache-Control", b"no-store")]})
        await send(body)
        raise ZeroDivisionError("of the application")

    receives = once(None)
    scope = make_scope("http", "/", "", bearer(tokens.issue())) | {"method": "GET"}
    with pytest.raises(ZeroDivisionError):
        asyncio.run(asgi.RequireOAuth(fails, tokens)(scope, receives, into(sent)))

    start, second = sent
    assert second is body
    assert [name for name, _ in start["headers"]] == [b"Cache-Control", b"token-expires-at"]


def test_lifespan_is_none_of_its_business():
    async def starts(scope, receive, send):
        await send({"type": "lifespan.startup.complete"})

    sent: list[Any] = []
    scope = {"type": "lifespan", "state": {}}
    asyncio.run(asgi.RequireOAuth(starts, FakeTokens())(scope, once(None), into(sent)))

    assert sent == [{"type": "lifespan.startup.complete"}]
    assert scope == {"type": "lifespan", "state": {}}


@pytest.mark.parametrize("token, reason", [(None, "no_token"), ("x", "invalid_token"), ("b", "insufficient_scope")])
def test_a_websocket_is_closed_before_it_is_accepted(token, reason):
    tokens = FakeTokens()
    headers = {} if token is None else bearer(tokens.issue("b") if token == "b" else token)
    sent: list[Any] = []

    async def never(scope, receive, send):
        raise AssertionError("called")

    scope = make_scope("websocket", "/ws", "", headers)
    asyncio.run(asgi.RequireOAuth(never, tokens, "a")(scope, once({"type": "websocket.connect"}), into(sent)))

    assert sent == [{"type": "websocket.close", "code": 1008, "reason": reason}]


def test_a_header_that_is_sent_twice_is_no_token():
    tokens = FakeTokens()
    scope = make_scope("http", "/", "", bearer(token := tokens.issue())) | {"method": "GET"}
    scope["headers"].append((b"authorization", f"Bearer {token}".encode()))
    sent: list[Any] = []

    asyncio.run(asgi.RequireOAuth(tells, tokens)(scope, once(None), into(sent)))

    assert sent[0]["status"] == 401


@pytest.mark.parametrize(
    "root, path, status",
    [("", "/open", 200), ("/api", "/api/open", 200), ("/api", "/apiopen", 401), ("/api", "/api/open/", 401),
     ("/api", "/open", 200), ("/open", "/open", 401)],
)  # fmt: skip
def test_below_a_mount_open_paths_are_the_applications(root, path, status):
    lookup = Lookup(Issuer("acme", "https://acme.example"))
    scope = make_scope("http", path, "", {}) | {"method": "GET", "root_path": root}
    sent: list[Any] = []

    asyncio.run(asgi.RequireOAuth(tells, lookup, open_paths=["/open"])(scope, once(None), into(sent)))

    assert sent[0]["status"] == status


def test_a_token_that_somebody_else_put_there_is_not_seen():
    scope = make_scope("http", "/open", "", {}) | {"method": "GET", asgi.TOKEN: "forged", "state": {asgi.TOKEN: "x"}}
    sent: list[Any] = []

    asyncio.run(asgi.RequireOAuth(tells, FakeTokens(), open_paths=["/open"])(scope, once(None), into(sent)))

    assert sent[1]["body"] == b"nobody"
    assert scope["state"] == {asgi.TOKEN: None}

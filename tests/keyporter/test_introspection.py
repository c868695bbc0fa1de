"""The look-up over the network: what it asks, what it remembers, and for how long."""

from __future__ import annotations

import base64
import logging
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from keyporter import Call, Chain, Introspection, LookupUnavailable, clock, introspection
from keyporter.introspection import Limits
from keyporter.testing import FakeTokens
from tests.keyporter.issuer_server import PATIENCE, IssuerServer, make_token
from tests.server import wait_until

HERE = Call("api.acme.example", "https", "/reports")
METADATA = "/.well-known/oauth-authorization-server"


class Clock:
    """Goes on only when a test says so."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def server():
    with IssuerServer().serving() as server:
        yield server


@pytest.fixture
def silent_server(server):
    """One without a feed, as other products are."""
    server.has_feed = False
    return server


@pytest.fixture
def lookup_of():
    """Makes look-ups, and ends what they started."""
    made = []

    def make(server, **options):
        options = {"client_id": "api", "client_secret": "secret"} | options
        where = {} if "issuers" in options else {"issuer": server.issuer}
        made.append(Introspection(**where, **options))
        return made[-1]

    yield make
    for lookup in made:
        lookup.close()


@pytest.fixture
def stopped_clock(monkeypatch):
    stopped = Clock()
    monkeypatch.setattr(clock, "now", stopped)
    return stopped


def follow(lookup, token):
    """Ask for a token until the answer comes from memory: then the feed is followed."""
    lookup.find(token, HERE)
    wait_until(lambda: lookup.find_remembered(token, HERE)[0] or not lookup.find(token, HERE), "the feed is followed")


# --- what it asks ------------------------------------------------------------------------------


def test_a_token_is_asked_for_as_rfc_7662_wants_it(server, lookup_of):
    token = server.issue(scope="a b", client_name="Power BI")
    lookup = lookup_of(server, client_id="an api", client_secret="p%ss:wörd")

    found = lookup.find(token, HERE)

    assert (found.client_id, found.client_name, found.scope, found.tenant) == (
        "powerbi",
        "Power BI",
        "a b",
        "127.0.0.1",
    )
    assert found.is_client
    _, headers, body = next(seen for seen in server.seen if seen[0] == "/introspect")
    assert body == f"token={token}&token_type_hint=access_token"
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    pair = base64.b64decode(headers["Authorization"].removeprefix("Basic ")).decode()
    assert pair == "an+api:p%25ss%3Aw%C3%B6rd"


def test_a_person_behind_the_token_is_known(server, lookup_of):
    token = server.issue(sub="user:7", username="bo@acme.example", role="member", tenant="acme")

    found = lookup_of(server).find(token, HERE)

    assert not found.is_client
    assert (found.user_id, found.user_email, found.user_role) == ("7", "bo@acme.example", "member")
    assert found.tenant == "acme"


def test_what_cannot_be_a_token_is_asked_of_nobody(server, lookup_of):
    lookup = lookup_of(server)
    good = server.issue()

    for text in [
        "",
        "x",
        good[:-1] + "_",
        good[::-1],
        good.replace("kpa", "kps"),
        "é" * 40,
        "\ud800",
        "eyJ.x",
        "a" * 99,
    ]:
        assert lookup.find(text, HERE) is None, text
    assert not server.asked


def test_other_servers_tokens_have_no_checksum(silent_server, lookup_of):
    lookup = lookup_of(silent_server, any_format=True)
    silent_server.tokens["opaque.token~1"] = {"active": True, "client_id": "x", "sub": "x"}

    found = lookup.find("opaque.token~1", HERE)

    assert found.is_client
    assert (found.expires_at, found.limited) == (0, True)
    # Without scope, another server's token has none; ours has all.
    assert not found.has_scope("anything")
    for text in ["", "a b", "é", "a" * 9000]:
        assert lookup.find(text, HERE) is None
    assert silent_server.asked["/introspect"] == 1


@pytest.mark.parametrize(
    "said, lets_in",
    [
        ({}, True),
        ({"token_type": "Bearer"}, True),
        ({"token_type": "bearer", "token_use": "access_token"}, True),
        ({"token_type": None, "typ": "Bearer"}, True),
        # RFC 9449: nobody has seen its proof.
        ({"token_type": "DPoP"}, False),
        ({"token_type": ["Bearer"]}, False),
        # Hydra's and Keycloak's words.
        ({"token_use": "refresh_token"}, False),
        ({"typ": "Refresh"}, False),
        ({"typ": "Offline"}, False),
        ({"typ": "ID"}, False),
    ],
)
def test_what_is_active_and_no_bearer_token_is_not_let_in(silent_server, lookup_of, said, lets_in):
    token = silent_server.issue(**said)

    assert (lookup_of(silent_server).find(token, HERE) is not None) is lets_in


def test_where_every_access_token_has_its_type_what_has_none_is_something_else(silent_server, lookup_of):
    lookup = lookup_of(silent_server, needs_token_type=True)

    assert lookup.find(silent_server.issue(1, token_type="Bearer"), HERE)
    assert lookup.find(silent_server.issue(2), HERE) is None


def test_metadata_are_read_once_and_never_believed_of_somebody_else(server, lookup_of):
    lookup = lookup_of(server)
    for number in range(3):
        assert lookup.find(server.issue(number), HERE)
    assert server.asked[METADATA] == 1

    server.more_metadata = {"issuer": "https://elsewhere.example"}
    with pytest.raises(LookupUnavailable):
        lookup_of(server).find(server.issue(4), HERE)


def test_an_answer_of_another_issuer_is_no_answer(server, lookup_of):
    token = server.issue(iss="https://elsewhere.example")

    assert lookup_of(server).find(token, HERE) is None


def test_a_server_that_knows_openid_alone_is_understood(silent_server, lookup_of):
    silent_server.broken[METADATA] = 404
    token = silent_server.issue()
    lookup = lookup_of(silent_server)

    with pytest.raises(LookupUnavailable):
        lookup.find(token, HERE)
    assert silent_server.asked["/.well-known/openid-configuration"] == 1
    assert lookup_of(silent_server, introspection_endpoint=f"{silent_server.issuer}/introspect").find(token, HERE)


# --- which tenant ------------------------------------------------------------------------------


def test_a_token_of_one_tenant_is_unknown_on_the_host_of_another(lookup_of):
    with IssuerServer().serving() as acme, IssuerServer().serving() as globex:
        lookup = lookup_of(None, issuers={"api.acme.example": acme.issuer, "api.globex.example": globex.issuer})
        token = acme.issue()

        for _ in range(2):
            assert lookup.find(token, Call("API.acme.example:8443")).client_id == "powerbi"
            assert lookup.find(token, Call("api.globex.example")) is None
            assert lookup.find(token, Call("api.elsewhere.example")) is None
        assert lookup.issuer(Call("api.acme.example")).url == acme.issuer
        assert lookup.issuer(Call("api.elsewhere.example")).url is None


def test_one_pattern_stands_for_the_hosts_of_all_tenants(lookup_of):
    lookup = lookup_of(None, issuers={"*.api.example.com": "https://*.example.com", "own.example": "https://a.example"})

    def issuer(host):
        return lookup.issuer(Call(host)).url

    assert issuer("acme.api.example.com") == "https://acme.example.com"
    assert issuer("Acme-2.API.example.com:443") == "https://acme-2.example.com"
    assert issuer("own.example") == "https://a.example"
    for host in [
        "api.example.com",
        "a.b.api.example.com",
        "a@evil.api.example.com",
        ".api.example.com",
        "[::1]:80",
        "",
    ]:
        assert issuer(host) is None, host


def test_a_secret_is_not_sent_in_the_clear(lookup_of):
    for issuer in ["http://acme.example.com", "acme.example.com", "ftp://acme.example.com"]:
        with pytest.raises(ValueError, match="https"):
            Introspection(issuer, client_id="api", client_secret="secret")
    Introspection("http://auth.internal", client_id="api", client_secret="secret", allow_http=True)


def test_the_environment_says_who_and_where(tmp_path, server):
    secret = tmp_path / "secret"
    secret.write_text("from-a-file\n")
    token = server.issue()

    lookup = Introspection.from_env(
        {"KEYPORTER_ISSUER": server.issuer, "KEYPORTER_CLIENT_ID": "api", "KEYPORTER_CLIENT_SECRET_FILE": str(secret)},
        follow=False,
    )

    assert lookup.find(token, HERE)
    header = server.seen[-1][1]["Authorization"]
    assert base64.b64decode(header.removeprefix("Basic ")) == b"api:from-a-file"
    with pytest.raises(ValueError, match="KEYPORTER_CLIENT_ID, KEYPORTER_CLIENT_SECRET, KEYPORTER_ISSUER"):
        Introspection.from_env({})
    both = {"KEYPORTER_ISSUERS": "a.example=https://x.example, *.b.example=https://*.y.example"}
    several = Introspection.from_env(both | {"KEYPORTER_CLIENT_ID": "api", "KEYPORTER_CLIENT_SECRET": "s"})
    assert several.issuer(Call("z.b.example")).url == "https://z.y.example"
    with pytest.raises(ValueError, match="host=https"):
        Introspection.from_env(
            {"KEYPORTER_ISSUERS": "nonsense", "KEYPORTER_CLIENT_ID": "a", "KEYPORTER_CLIENT_SECRET": "s"}
        )


def test_a_token_for_another_place_is_refused_here(server, lookup_of):
    there = server.issue(1, aud="https://files.acme.example/")
    here = server.issue(2, aud=["https://x.example", "https://api.acme.example/reports"])
    everywhere = server.issue(3, aud=server.issuer)
    named = server.issue(4, aud="urn:reports")
    beside = server.issue(5, aud="https://api.acme.example/report")
    lookup, naming = lookup_of(server), lookup_of(server, audience="urn:reports")

    assert lookup.find(there, HERE) is None
    assert lookup.find(beside, HERE) is None
    assert lookup.find(named, HERE) is None
    assert lookup.find(here, HERE)
    assert lookup.find(everywhere, HERE).audience == ()
    assert naming.find(named, HERE)
    assert naming.find(there, HERE) is None


# --- what it remembers -------------------------------------------------------------------------


def test_without_a_feed_an_answer_is_good_for_half_a_minute(silent_server, lookup_of, stopped_clock):
    lookup = lookup_of(silent_server)
    token = silent_server.issue()

    for later, asked in [(0, 1), (29.9, 1), (0.2, 2), (1, 2)]:
        stopped_clock.at += later
        assert lookup.find(token, HERE)
        assert silent_server.asked["/introspect"] == asked


def test_a_bad_token_is_asked_for_again_after_five_seconds(silent_server, lookup_of, stopped_clock):
    lookup = lookup_of(silent_server)
    token = make_token(1)

    for later, asked in [(0, 1), (4.9, 1), (0.2, 2)]:
        stopped_clock.at += later
        assert lookup.find(token, HERE) is None
        assert silent_server.asked["/introspect"] == asked
    silent_server.issue(1)
    stopped_clock.at += 5.1
    assert lookup.find(token, HERE)


@pytest.mark.parametrize("step", [0, 86_400, -86_400])
def test_no_answer_outlives_its_token_however_the_clock_is_set(
    silent_server, lookup_of, stopped_clock, monkeypatch, step
):
    """The answer says when it was given (Date): a clock behind that grants nothing, one ahead takes nothing."""
    lookup = lookup_of(silent_server)
    now = time.time()
    token = silent_server.issue(exp=int(now) + 10)
    monkeypatch.setattr(introspection, "time", SimpleNamespace(time=lambda: now + step))

    assert lookup.find(token, HERE)
    silent_server.tokens.clear()
    assert lookup.find(token, HERE), "it was remembered"

    stopped_clock.at += 10.5
    silent_server.broken["/introspect"] = 500
    with pytest.raises(LookupUnavailable):
        lookup.find(token, HERE)


def test_memory_is_bounded_and_strangers_do_not_drive_out_good_answers(silent_server, lookup_of):
    lookup = lookup_of(silent_server, max_tokens=1000)
    good = [silent_server.issue(number) for number in range(5)]
    for token in good:
        lookup.find(token, HERE)

    for number in range(1000, 1300):
        assert lookup.find(make_token(number), HERE) is None
    assert len(lookup._answers) <= 105
    asked = silent_server.asked["/introspect"]
    assert all(lookup.find(token, HERE) for token in good)
    assert silent_server.asked["/introspect"] == asked

    small = lookup_of(silent_server, max_tokens=10)
    for number in range(30):
        assert small.find(silent_server.issue(number), HERE)
    assert len(small._answers) <= 10


def test_tokens_are_not_kept_in_memory(silent_server, lookup_of):
    lookup = lookup_of(silent_server)
    token = silent_server.issue()
    lookup.find(token, HERE)

    assert all(isinstance(key, bytes) and len(key) == 32 for key in lookup._answers._good)
    assert token not in repr(vars(lookup._answers))


def test_thirty_callers_with_one_token_ask_once(server, lookup_of):
    lookup = lookup_of(server)
    token = server.issue()
    gate = server.before["/introspect"] = threading.Event()

    with ThreadPoolExecutor(30) as pool:
        calls = [pool.submit(lookup.find, token, HERE) for _ in range(30)]
        wait_until(lambda: server.asked["/introspect"] == 1, "somebody asks")
        gate.set()
        assert all(call.result(PATIENCE).client_id == "powerbi" for call in calls)
    assert server.asked["/introspect"] == 1


def test_an_error_of_the_one_that_asks_is_everybodys(server, lookup_of):
    lookup = lookup_of(server)
    lookup.find(server.issue(1), HERE)
    token = server.issue(2)
    server.broken["/introspect"] = 503
    gate = server.before["/introspect"] = threading.Event()

    with ThreadPoolExecutor(5) as pool:
        calls = [pool.submit(lookup.find, token, HERE) for _ in range(5)]
        wait_until(lambda: server.asked["/introspect"] == 2, "somebody asks")
        gate.set()
        for call in calls:
            with pytest.raises(LookupUnavailable):
                call.result(PATIENCE)
    server.broken.clear()
    assert lookup.find(token, HERE)


# --- when the server is not there --------------------------------------------------------------


@pytest.mark.parametrize("status", [0, 429, 500, 503])
def test_one_more_try_and_then_503_never_401(silent_server, lookup_of, status, caplog):
    lookup = lookup_of(silent_server)
    lookup.find(silent_server.issue(1), HERE)
    token = silent_server.issue(2)
    silent_server.broken["/introspect"] = status

    with pytest.raises(LookupUnavailable), caplog.at_level(logging.WARNING, "keyporter"):
        lookup.find(token, HERE)

    assert silent_server.asked["/introspect"] == 3
    assert "token not checked" in caplog.text
    assert token not in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404])
def test_a_refusal_of_the_services_own_credentials_says_nothing_of_the_token(silent_server, lookup_of, status):
    silent_server.broken["/introspect"] = status

    with pytest.raises(LookupUnavailable):
        lookup_of(silent_server).find(silent_server.issue(), HERE)
    assert silent_server.asked["/introspect"] == 1


def test_a_kind_of_token_that_the_server_does_not_introspect_is_not_known_there(silent_server, lookup_of):
    silent_server.broken["/introspect"] = 400
    silent_server.error = "unsupported_token_type"
    lookup, token = lookup_of(silent_server), silent_server.issue()

    assert lookup.find(token, HERE) is None
    assert lookup.find(token, HERE) is None
    assert silent_server.asked["/introspect"] == 1

    # With another status it says something else.
    silent_server.broken["/introspect"] = 401
    with pytest.raises(LookupUnavailable):
        lookup.find(silent_server.issue(2), HERE)


def test_a_server_that_is_too_slow_is_not_waited_for(silent_server, lookup_of):
    lookup = lookup_of(silent_server, limits=Limits(timeout=0.2))
    lookup.find(silent_server.issue(1), HERE)
    silent_server.before["/introspect"] = threading.Event()

    with pytest.raises(LookupUnavailable):
        lookup.find(silent_server.issue(2), HERE)


def test_connections_are_kept_and_a_dead_one_costs_no_call(silent_server, lookup_of):
    lookup = lookup_of(silent_server, limits=Limits(unfollowed_seconds=0))
    token = silent_server.issue()
    for _ in range(10):
        assert lookup.find(token, HERE)
    assert silent_server.connections == 1

    silent_server.hiccups["/introspect"] = 1
    assert lookup.find(token, HERE)
    assert silent_server.connections == 2


def test_a_server_that_is_gone_is_asked_for_metadata_by_one_caller_at_a_time(lookup_of):
    with IssuerServer().serving() as server:
        lookup = lookup_of(server)
        server.broken[METADATA] = 500
        token = server.issue()
        for _ in range(20):
            with pytest.raises(LookupUnavailable):
                lookup.find(token, HERE)
        # Two tries, and then peace for half a second, but for a slow machine.
        assert server.asked[METADATA] < 20


def test_by_choice_an_old_answer_is_used_while_the_server_is_gone(silent_server, lookup_of, stopped_clock):
    lookup = lookup_of(silent_server, limits=Limits(stale_ok=60))
    token, ending = silent_server.issue(1), silent_server.issue(2, exp=int(time.time()) + 40)
    assert lookup.find(token, HERE)
    assert lookup.find(ending, HERE)
    silent_server.broken["/introspect"] = 503

    stopped_clock.at += 35
    assert lookup.find(token, HERE)
    assert lookup.find(ending, HERE)
    stopped_clock.at += 10
    assert lookup.find(token, HERE)
    with pytest.raises(LookupUnavailable):
        lookup.find(ending, HERE)
    stopped_clock.at += 46
    with pytest.raises(LookupUnavailable):
        lookup.find(token, HERE)


def test_a_word_of_the_server_ends_what_was_borne(silent_server, lookup_of, stopped_clock):
    lookup = lookup_of(silent_server, limits=Limits(stale_ok=3600))
    token = silent_server.issue()
    assert lookup.find(token, HERE)
    silent_server.tokens.clear()
    stopped_clock.at += 31
    assert lookup.find(token, HERE) is None
    silent_server.broken["/introspect"] = 503
    stopped_clock.at += 6
    with pytest.raises(LookupUnavailable):
        lookup.find(token, HERE)


@pytest.mark.parametrize("answer", [[], "x", {"active": "true"}, {"active": 1}, {}, {"error": "x"}])
def test_nonsense_is_no_answer(silent_server, lookup_of, answer):
    token = silent_server.issue()
    silent_server.tokens[token] = answer if isinstance(answer, dict) else {"nonsense": answer}

    with pytest.raises(LookupUnavailable):
        lookup_of(silent_server).find(token, HERE)


def test_metadata_that_are_old_are_better_than_none(silent_server, lookup_of, stopped_clock):
    lookup = lookup_of(silent_server)
    assert lookup.find(silent_server.issue(1), HERE)
    stopped_clock.at += 4000
    silent_server.broken[METADATA] = 500

    assert lookup.find(silent_server.issue(2), HERE)
    silent_server.broken.clear()
    stopped_clock.at += 1
    assert lookup.find(silent_server.issue(3), HERE)
    before = silent_server.asked[METADATA]
    assert lookup.find(silent_server.issue(4), HERE)
    assert silent_server.asked[METADATA] == before


def test_a_server_that_cannot_be_asked_about_tokens_is_no_help(silent_server, lookup_of):
    silent_server.more_metadata = {"introspection_endpoint": None}

    with pytest.raises(LookupUnavailable):
        lookup_of(silent_server).find(silent_server.issue(), HERE)


@pytest.mark.parametrize(
    "content, headers",
    [
        (b"<html>", {}),
        (b"[" * 5000, {}),
        (b'{"active": true, "x": "' + b"y" * 1_100_000 + b'"}', {}),
        (b'{"active": true, "client_id": "x", "sub": "x"}', {"Date": "yesterday"}),
    ],
)
def test_an_answer_that_is_none_or_much_too_long_is_not_believed(silent_server, lookup_of, content, headers):
    token = silent_server.issue()
    silent_server.raw["/introspect"] = (content, headers)

    if headers:
        # Only the hour is nonsense, and then this process has its own.
        assert lookup_of(silent_server).find(token, HERE)
        return
    with pytest.raises(LookupUnavailable):
        lookup_of(silent_server).find(token, HERE)


def test_issuers_are_named_once():
    for names in [{}, {"issuer": "https://a.example", "issuers": {"b.example": "https://b.example"}}]:
        with pytest.raises(ValueError, match="Name one issuer"):
            Introspection(**names, client_id="api", client_secret="secret")  # type: ignore[arg-type]


def test_hosts_that_strangers_make_up_do_not_fill_the_memory(lookup_of, monkeypatch):
    monkeypatch.setattr(introspection, "_MAX_HOSTS", 50)
    lookup = lookup_of(None, issuers={"*.api.example.com": "https://*.example.com"})
    for number in range(200):
        lookup.find(make_token(1), Call(f"made-up-{number}.elsewhere.example"))

    assert len(lookup._by_host) <= 50


# --- processes, chains -------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_process_that_was_forked_begins_anew(server, lookup_of):
    lookup = lookup_of(server)
    token = server.issue()
    follow(lookup, token)
    read, write = os.pipe()

    pid = os.fork()
    if pid == 0:
        said = b"lost"
        try:
            was_empty = not lookup.find_remembered(token, HERE)[0]
            follow(lookup, token)
            server_says = lookup.find(token, HERE)
            said = b"good" if was_empty and server_says else b"bad"
        finally:
            os.write(write, said)
            os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(read, 10) == b"good"


def test_a_chain_asks_the_next_one_for_what_the_first_does_not_know(server, lookup_of):
    class Down(FakeTokens):
        def find(self, token, call=None):
            raise LookupUnavailable

    own, remote = FakeTokens("acme"), lookup_of(server)
    mine, theirs = own.issue(), server.issue(77)

    assert Chain(own, remote).find(mine, HERE)
    assert Chain(own, remote).find(theirs, HERE).client_id == "powerbi"
    assert Chain(Down(), remote).find(theirs, HERE)
    assert Chain(own, remote).find(make_token(99), HERE) is None
    assert Chain(own, remote).issuer(HERE).realm == "acme"
    with pytest.raises(LookupUnavailable):
        Chain(Down(), own).find(make_token(99), HERE)

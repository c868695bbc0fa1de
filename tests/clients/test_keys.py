"""Public keys of clients: pasted ones, and those behind an address (RFC 7517, RFC 7523)."""

from __future__ import annotations

import ipaddress
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import time_machine
from joserfc import jwk

from app.clients import keys, remote_keys
from app.clients.remote_keys import KeysUnavailable, RemoteKeys
from app.clients.rules import ClientError
from tests.databases import close, make_app
from tests.key_server import make_certificate, serve_keys
from tests.oauth.test_client_auth import check_refused
from tests.server import PATIENCE
from tests.signing import Signer, request_token
from tests.world import now

WEAK_RSA = {
    "kty": "RSA",
    "e": "AQAB",
    "n": "0" + "A" * 170 + "Q",
}
SIGNER = Signer(kid="first")


def pem(kind, size, *, private=False):
    return jwk.generate_key(kind, size).as_pem(private=private).decode()


def refusal(text):
    with pytest.raises(ClientError) as refused:
        keys.check_jwks(text)
    assert refused.value.field == "jwks"
    return str(refused.value)


class TestPasted:
    def test_a_set_is_kept_with_its_public_members(self):
        pasted = {"keys": [SIGNER.public | {"use": "sig", "alg": "ES256", "x5t": "AAAA", "key_ops": ["verify"]}]}

        kept = json.loads(keys.check_jwks(json.dumps(pasted, indent=4)))

        assert kept == {"keys": [SIGNER.public | {"use": "sig", "alg": "ES256"}]}

    def test_one_key_is_a_set_of_one(self):
        assert json.loads(keys.check_jwks(json.dumps(SIGNER.public))) == {"keys": [SIGNER.public]}

    @pytest.mark.parametrize("kind,size", [("EC", "P-256"), ("EC", "P-384"), ("OKP", "Ed25519"), ("RSA", 2048)])
    def test_pem_becomes_a_set(self, kind, size):
        pair = jwk.generate_key(kind, size)
        text = f"some words\n{pair.as_pem(private=False).decode()}\n{pem('EC', 'P-256')}"

        first, _ = json.loads(keys.check_jwks(text))["keys"]

        assert first == {name: value for name, value in pair.as_dict(private=False).items() if name != "kid"}

    def test_the_old_name_of_an_algorithm_is_the_new_one(self):
        kept = json.loads(keys.check_jwks(json.dumps(Signer("EdDSA").public | {"alg": "EdDSA"})))

        assert kept["keys"][0]["alg"] == "Ed25519"

    @pytest.mark.parametrize(
        "text",
        [
            json.dumps(SIGNER.key.as_dict(private=True)),
            json.dumps({"keys": [SIGNER.public, SIGNER.key.as_dict(private=True)]}),
            json.dumps(SIGNER.public | {"d": None}),
            pem("EC", "P-256", private=True),
            pem("RSA", 2048) + pem("RSA", 2048, private=True),
            "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----",
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----",
        ],
        ids=["JWK", "in a set", "an empty member", "PEM", "PEM beside a public one", "OpenSSH", "encrypted"],
    )
    def test_a_private_key_is_refused_and_not_repeated(self, text):
        assert refusal(text) == keys.PRIVATE_MESSAGE

    @pytest.mark.parametrize(
        "text,words",
        [
            ('{"kty": "oct", "k": "c2VjcmV0"}', "A symmetric key (oct) is a shared secret."),
            (json.dumps(WEAK_RSA), "RSA keys have 2048 to 4096 bits."),
            (json.dumps(WEAK_RSA | {"n": "_" * 800}), "RSA keys have 2048 to 4096 bits."),
            (json.dumps(Signer("RS256").public | {"e": "AQ"}), "The exponent of an RSA key is an odd number"),
            (json.dumps(Signer("RS256").public | {"e": "_" * 300}), "The exponent of an RSA key is an odd number"),
            (json.dumps(WEAK_RSA | {"n": "!"}), "A member of a key is not base64url."),
            (json.dumps({"kty": "RSA", "n": "AAAA"}), "A member of a key is missing"),
            (pem("EC", "P-521"), "Keys are RSA, P-256, P-384 or Ed25519."),
            (pem("EC", "secp256k1"), "Keys are RSA, P-256, P-384 or Ed25519."),
            (pem("OKP", "X25519"), "Keys are RSA, P-256, P-384 or Ed25519."),
            (pem("OKP", "Ed448"), "Keys are RSA, P-256, P-384 or Ed25519."),
            ('{"kty": "AKP"}', "Keys are RSA, P-256, P-384 or Ed25519."),
            ('{"kty": ["EC"]}', "A member of a key is missing, or is no plain text."),
            (json.dumps(SIGNER.public | {"crv": "P-384"}), "A key of the set cannot be read"),
            (json.dumps(SIGNER.public | {"y": SIGNER.public["x"]}), "A key of the set cannot be read"),
            (json.dumps(SIGNER.public | {"kid": 1}), "A member of a key is missing, or is no plain text."),
            (json.dumps(SIGNER.public | {"kid": "x" * 256}), "A kid has 255 characters at most."),
            (json.dumps(SIGNER.public | {"kid": "\ud800"}), "A member of a key is missing, or is no plain text."),
            (json.dumps(SIGNER.public | {"use": "enc"}), "A key of the set is not for signatures."),
            (json.dumps(SIGNER.public | {"key_ops": ["sign"]}), "A key of the set is not for signatures."),
            (json.dumps(SIGNER.public | {"alg": "RS256"}), "The algorithms are ES256, "),
            (json.dumps(SIGNER.public | {"alg": "HS256"}), "The algorithms are ES256, "),
            (json.dumps({"keys": [SIGNER.public] * 11}), "A client has 10 keys at most."),
            ('{"keys": []}', "There is no key in it."),
            ("-----BEGIN PUBLIC KEY-----", "There is no key in it."),
            ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "A PEM block cannot be read"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "A PEM block is a PUBLIC KEY here"),
            ('{"keys": [1]}', "A key of the set is no JSON object."),
            ('{"keys": {}}', "Give a JWK set (JSON) or public keys in PEM."),
            ('{"kty": "EC", "kty": "RSA"}', "Give a JWK set (JSON) or public keys in PEM."),
            ("[" * 20_000, "Give a JWK set (JSON) or public keys in PEM."),
            ("[]", "Give a JWK set (JSON) or public keys in PEM."),
            ("", "Give a JWK set (JSON) or public keys in PEM."),
            ("ssh-rsa AAAA", "Give a JWK set (JSON) or public keys in PEM."),
            (" " * 65_537, "Keys have 64 kB at most."),
        ],
    )  # fmt: skip
    def test_what_cannot_be_used_is_refused_with_one_sentence(self, text, words):
        assert refusal(text).startswith(words)


@pytest.mark.parametrize(
    "uri", ["https://client.example/jwks.json", "https://client.example:8443/a?b=c", "https://[2001:db8::1]/"]
)
def test_a_key_address_is_https(uri):
    assert keys.check_jwks_uri(uri) == uri


@pytest.mark.parametrize(
    "uri",
    [
        "", "x", "http://client.example/", "HTTP://client.example/", "https://", "https:///x", "file:///etc/passwd",
        "https://me@client.example/", "https://me:pass@client.example/", "https://@client.example/",
        "https://client.example/#x", "https://client.example/a b", "https://client.example\\@evil.example/",
        "https://client.example:0/", "https://client.example:99999/", "https://client.example:x/", "https://[::1",
        "https://clïent.example/", "https://client.example/\n", "https://client.example/" + "x" * 500,
        "//client.example",
    ],
)  # fmt: skip
def test_what_is_no_key_address_is_refused(uri):
    with pytest.raises(ClientError, match="A key address looks like"):
        keys.check_jwks_uri(uri)


@pytest.mark.parametrize(
    "address,public",
    [
        ("93.184.215.14", True), ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True), ("64:ff9b::5db8:d70e", True),
        ("127.0.0.1", False), ("127.1.2.3", False), ("0.0.0.0", False), ("10.0.0.1", False), ("172.16.0.1", False),
        ("192.168.1.1", False), ("169.254.169.254", False), ("100.64.0.1", False), ("192.0.0.192", False),
        ("198.18.0.1", False), ("192.0.2.1", False), ("224.0.0.1", False), ("239.1.1.1", False), ("240.0.0.1", False),
        ("255.255.255.255", False), ("::", False), ("::1", False), ("fe80::1", False), ("fec0::1", False),
        ("fc00::1", False), ("fd12::1", False), ("ff02::1", False), ("2001:db8::1", False), ("100::1", False),
        ("::ffff:127.0.0.1", False), ("::ffff:10.0.0.1", False), ("::127.0.0.1", False), ("2002:7f00:1::", False),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", False), ("64:ff9b::7f00:1", False), ("64:ff9b::a9fe:a9fe", False),
        ("::ffff:93.184.215.14", True),
    ],
)  # fmt: skip
def test_only_what_the_whole_internet_can_reach_is_public(address, public):
    assert remote_keys.is_public(ipaddress.ip_address(address)) is public


def resolving(monkeypatch, *answers):
    """Names lead to ``answers``, one after the other; numbers to themselves. Returns how often a name was asked for."""
    asked, original = [], socket.getaddrinfo

    def getaddrinfo(host, port, *rest, **options):
        try:
            ipaddress.ip_address(host)
        except ValueError:
            asked.append(host)
            found = answers[min(len(asked), len(answers)) - 1]
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]
        return original(host, port, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1", "169.254.169.254", "10.0.0.1"]
)
def test_an_address_that_is_not_public_is_never_called(host):
    with pytest.raises(KeysUnavailable, match=r"not public|not known"):
        remote_keys.fetch(f"https://{host}:1/")


def test_a_name_with_one_address_that_is_not_public_is_never_called(monkeypatch):
    resolving(monkeypatch, ["93.184.215.14", "10.0.0.1"])

    with pytest.raises(KeysUnavailable, match="not public"):
        remote_keys.fetch("https://client.example/")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def key_server(certificate, monkeypatch):
    """Its certificate is one that this process trusts."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with serve_keys(certificate) as server:
        server.body = SIGNER.jwks.encode()
        yield server


def fetch(server, timeout=3.0):
    return remote_keys.fetch(server.uri, loopback=True, timeout=timeout)


class TestFetching:
    def test_the_keys_of_a_set_are_read(self, key_server):
        (key,) = fetch(key_server)

        assert key.kid == "first"
        assert key_server.paths == ["/jwks.json"]

    def test_keys_that_cannot_be_used_here_are_passed_over(self, key_server):
        members = [WEAK_RSA, {"kty": "AKP"}, SIGNER.key.as_dict(private=True), 1, SIGNER.public]
        key_server.body = json.dumps({"keys": members}).encode()

        assert [key.kid for key in fetch(key_server)] == ["first"]

    def test_of_very_many_the_first_ten_count(self, key_server):
        key_server.body = json.dumps({"keys": [SIGNER.public | {"kid": str(number)} for number in range(50)]}).encode()

        assert len(fetch(key_server)) == 10

    @pytest.mark.parametrize(
        "body", [b"", b"x", b"[]", b"{}", b'{"keys": {}}', b"\xff", b"[" * 60_000, b'{"keys": [], "keys": []}']
    )
    def test_what_is_no_set_is_none(self, key_server, body):
        key_server.body = body

        with pytest.raises(KeysUnavailable, match="no JWK set"):
            fetch(key_server)

    def test_an_answer_that_is_too_large_is_none(self, key_server):
        key_server.body = SIGNER.jwks.encode() + b" " * 65_536

        with pytest.raises(KeysUnavailable, match="too large"):
            fetch(key_server)

    @pytest.mark.parametrize("status", [204, 301, 302, 303, 307, 308, 404, 500])
    def test_another_answer_is_none_and_a_redirect_is_not_followed(self, key_server, status):
        def answer(request):
            request.send_response(status)
            request.send_header("Location", "/elsewhere")
            request.send_header("Content-Length", "0")
            request.end_headers()

        key_server.answer = answer

        with pytest.raises(KeysUnavailable, match=f"status {status}"):
            fetch(key_server)
        assert key_server.paths == ["/jwks.json"]

    def test_a_certificate_that_nobody_vouches_for_is_refused(self, key_server, monkeypatch, tmp_path):
        monkeypatch.setenv("SSL_CERT_FILE", str(make_certificate(tmp_path)))

        with pytest.raises(KeysUnavailable, match="SSLCertVerificationError"):
            fetch(key_server)
        assert key_server.paths == []

    def test_so_is_one_of_another_name(self, key_server, monkeypatch):
        resolving(monkeypatch, ["127.0.0.1"])

        with pytest.raises(KeysUnavailable, match="SSLCertVerificationError"):
            remote_keys.fetch(key_server.uri.replace("localhost", "client.example"), loopback=True)

    def test_the_connection_goes_to_the_address_that_was_looked_at(self, key_server, monkeypatch):
        """The name leads elsewhere when it is asked a second time; it is not asked."""
        asked = resolving(monkeypatch, ["127.0.0.1"], ["10.0.0.1"])

        assert fetch(key_server)
        assert asked == ["localhost"]

    def test_a_trickle_of_bytes_ends_when_the_time_is_over(self, key_server):
        over, stopped = threading.Event(), threading.Event()

        def answer(request):
            try:
                request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n")
                while not over.wait(0.02):
                    request.wfile.write(b" ")
            except OSError:
                stopped.set()

        key_server.answer = answer
        with pytest.raises(KeysUnavailable, match="too long"):
            fetch(key_server, timeout=0.3)

        assert stopped.wait(5), "the connection was left open"
        over.set()

    def test_a_resolver_that_does_not_answer_ends_when_the_time_is_over(self, monkeypatch):
        over = threading.Event()
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait() and [])

        with pytest.raises(KeysUnavailable, match="too long"):
            remote_keys.fetch("https://client.example/", timeout=0.1)
        over.set()

    def test_nobody_there_is_no_keys(self, certificate, monkeypatch):
        with serve_keys(certificate) as gone:
            pass

        with pytest.raises(KeysUnavailable, match="ConnectionRefusedError"):
            fetch(gone)


class TestRemembering:
    URI = "https://client.example/jwks.json"

    @pytest.fixture
    def source(self):
        class Source:
            signers = (SIGNER,)
            asked = 0

            def __call__(self, _uri, *, loopback):
                self.asked += 1
                if not self.signers:
                    raise KeysUnavailable("for a test")
                return keys.read_usable(json.dumps({"keys": [signer.public for signer in self.signers]}))

        return Source()

    def find(self, remembered, at, kid="first"):
        try:
            return [key.kid for key in remembered.find(self.URI, kid, at)]
        except KeysUnavailable:
            return None

    def test_keys_are_fetched_once_in_five_minutes(self, source):
        remembered = RemoteKeys(source)
        asked = []
        for at in (0, 1, 299, 300, 599, 600):
            assert self.find(remembered, at) == ["first"]
            asked.append(source.asked)

        assert asked == [1, 1, 1, 2, 2, 3]

    def test_a_kid_that_is_not_there_is_looked_for_once_a_minute(self, source):
        remembered = RemoteKeys(source)
        self.find(remembered, 0)
        asked = []
        for at in (1, 59, 60, 61, 119, 120):
            self.find(remembered, at, kid="second")
            asked.append(source.asked)

        assert asked == [1, 1, 2, 2, 2, 3]
        source.signers = (Signer(kid="second"),)
        assert self.find(remembered, 180, kid="second") == ["second"]

    def test_an_address_that_fails_is_left_alone_for_a_moment(self, source):
        remembered = RemoteKeys(source)
        source.signers = ()
        asked = []
        for at in (0, 1, 14, 15, 16):
            assert self.find(remembered, at) is None
            asked.append(source.asked)

        assert asked == [1, 1, 1, 2, 2]
        source.signers = (SIGNER,)
        assert self.find(remembered, 30) == ["first"]

    def test_when_it_fails_what_is_known_is_used_to_its_end(self, source):
        remembered = RemoteKeys(source)
        self.find(remembered, 0)
        source.signers = ()

        assert self.find(remembered, 100, kid="second") == ["first"]
        assert self.find(remembered, 299) == ["first"]
        assert self.find(remembered, 301) is None

    def test_a_clock_that_is_set_back_does_not_keep_keys_for_ever(self, source):
        remembered = RemoteKeys(source)
        self.find(remembered, 1_000_000)
        source.signers = (Signer(kid="second"),)

        assert self.find(remembered, 1000, kid="second") == ["second"]

    def test_of_many_at_once_one_asks_and_the_others_wait(self, source):
        barrier, never = threading.Barrier(8), threading.Event()

        def answer_later(uri, *, loopback):
            never.wait(0.2)
            return source(uri, loopback=loopback)

        remembered, found = RemoteKeys(answer_later), []

        def find():
            barrier.wait()
            found.append(self.find(remembered, 0))

        threads = [threading.Thread(target=find) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert source.asked == 1
        assert found == [["first"]] * 8

    def test_while_one_asks_for_what_somebody_made_up_the_others_go_on(self, source):
        asking, answered = threading.Event(), threading.Event()
        released = []

        def slow(uri, *, loopback):
            if source.asked:
                asking.set()
                assert answered.wait(PATIENCE)
            return source(uri, loopback=loopback)

        remembered = RemoteKeys(slow)
        self.find(remembered, 0)
        with ThreadPoolExecutor() as pool:
            made_up = pool.submit(
                remembered.find, self.URI, "made up", 100, before_waiting=lambda: released.append("connection")
            )
            assert asking.wait(PATIENCE)
            assert self.find(remembered, 100) == ["first"]
            answered.set()
            made_up.result()
        assert released == ["connection"]

    def test_addresses_are_remembered_in_a_limited_number(self, source):
        remembered = RemoteKeys(source, most=2)
        for number in (1, 2, 3, 2, 3, 1):
            remembered.find(f"https://client.example/{number}", "first", 0)

        assert source.asked == 4


class TestOverHttp:
    @pytest.fixture
    def app(self, database_url):
        app = make_app(database_url, JWKS_ON_LOOPBACK=True)
        yield app
        close(app)

    def test_a_client_authenticates_by_the_keys_behind_its_address(self, world, tenant, machine, key_server):
        client = world.client(tenant, jwks_uri=key_server.uri)

        for _ in range(2):
            assert request_token(machine, SIGNER.assertion(client.client_id)).status_code == 200
        check_refused(request_token(machine, Signer(kid="first").assertion(client.client_id)))
        assert len(key_server.paths) == 1

    def test_it_changes_its_keys_without_telling_anybody(self, world, tenant, machine, key_server):
        client, fresh = world.client(tenant, jwks_uri=key_server.uri), Signer(kid="second")
        assert request_token(machine, SIGNER.assertion(client.client_id)).status_code == 200

        key_server.body = fresh.jwks.encode()

        check_refused(request_token(machine, fresh.assertion(client.client_id)))
        with time_machine.travel(now() + 61, tick=False):
            assert request_token(machine, fresh.assertion(client.client_id)).status_code == 200
            check_refused(request_token(machine, SIGNER.assertion(client.client_id)))

    def test_what_makes_no_sense_is_refused_before_anything_is_fetched(self, world, tenant, machine, key_server):
        client = world.client(tenant, jwks_uri=key_server.uri)

        wrong: list[dict[str, Any]] = [{"exp": 1}, {"aud": "https://globex.example"}, {"jti": None}, {"iss": "x"}]
        for claims in wrong:
            check_refused(request_token(machine, SIGNER.assertion(client.client_id, **claims)))
        assert key_server.paths == []

    def test_an_address_that_does_not_answer_is_a_refusal_and_says_so_in_the_log(
        self, world, tenant, machine, key_server, caplog
    ):
        client = world.client(tenant, jwks_uri=key_server.uri)
        key_server.body = b"gone"

        with caplog.at_level("INFO"):
            check_refused(request_token(machine, SIGNER.assertion(client.client_id)))

        assert "keys not fetched: the answer is no JWK set (localhost)" in caplog.text
        assert "keys_unavailable" in caplog.text


def test_a_server_that_is_no_test_never_calls_this_machine(world, tenant, machine, key_server):
    client = world.client(tenant, jwks_uri=key_server.uri)

    check_refused(request_token(machine, SIGNER.assertion(client.client_id)))

    assert key_server.paths == []

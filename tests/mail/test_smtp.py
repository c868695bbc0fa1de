"""How the mail server is spoken to: encrypted, with a password, and never for longer than it may take."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.mail import message, smtp
from app.mail.outbox import Written


def a_mail(recipient="bo@acme.example"):
    return message.build(
        Written("Hello", "World"), sender="a@keyporter.example", recipient=recipient, mail_id=1, now=int(time.time())
    )


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """One for ``localhost``, by a CA of our own; the paths of certificate and key."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture
def encrypted(post_office, certificate):
    """The post office, with STARTTLS and a user."""
    post_office.close()
    post_office.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    post_office.tls.load_cert_chain(*certificate)
    post_office.users = {"us er": "p@ss:word"}
    post_office.open()
    return post_office


def test_a_password_is_sent_once_the_server_has_proven_who_it_is(encrypted, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))

    smtp.send(f"smtp://us%20er:p%40ss%3Aword@localhost:{encrypted.port}", a_mail())

    assert encrypted.logins == ["us er"]
    assert len(encrypted.mails) == 1


def test_a_server_that_nobody_vouches_for_hears_no_password(encrypted):
    with pytest.raises(smtp.NotSent) as refused:
        smtp.send(f"smtp://u:p@localhost:{encrypted.port}", a_mail())

    assert encrypted.logins == []
    assert refused.value.reason == "the server does not answer (SSLCertVerificationError)"


def test_a_server_without_tls_hears_no_password(post_office):
    with pytest.raises(smtp.NotSent, match="cannot do what is needed") as refused:
        smtp.send(f"smtp://user:my-password@127.0.0.1:{post_office.port}", a_mail())

    assert "my-password" not in str(refused.value)
    assert post_office.mails == []


def test_a_wrong_password_is_said_without_it(encrypted, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))

    with pytest.raises(smtp.NotSent) as refused:
        smtp.send(f"smtp://user:my-password@localhost:{encrypted.port}", a_mail())

    assert refused.value.reason == "the server says 535"
    assert not refused.value.server_is_there


def test_smtps_speaks_tls_from_the_start(certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    heard = []

    def serve(listener):
        raw, _address = listener.accept()
        with context.wrap_socket(raw, server_side=True) as connection, connection.makefile("rwb") as lines:

            def say(text):
                lines.write(text + b"\r\n")
                lines.flush()

            say(b"220 post.example")
            for line in lines:
                heard.append(line.strip())
                if line.lower().startswith(b"data"):
                    say(b"354 go")
                    while lines.readline() != b".\r\n":
                        pass
                if line.lower().startswith(b"quit"):
                    say(b"221 bye")
                    return
                say(b"250 post.example")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        smtp.send(f"smtps://localhost:{listener.getsockname()[1]}", a_mail())
        thread.join(10)

    assert b"rcpt TO:<bo@acme.example>" in heard


def test_an_address_that_is_not_ascii_is_sent_where_the_server_can(post_office):
    smtp.send(post_office.url, a_mail("bö@acme.example"))

    assert post_office.mails[0].recipients == ["bö@acme.example"]


def hang(listener, first):
    """Take a connection and say nothing more than ``first``, byte by byte."""
    connection, _address = listener.accept()
    with connection:
        try:
            for byte in first:
                connection.send(bytes([byte]))
                time.sleep(0.05)
            connection.settimeout(20)
            while connection.recv(1000):
                pass
        except OSError:
            return


@pytest.mark.parametrize("first", [b"", b"220 post.example\r\n", b"2" * 400], ids=["silence", "hello", "trickle"])
def test_a_server_that_hangs_is_left(monkeypatch, first):
    monkeypatch.setattr(smtp, "ANSWER_SECONDS", 0.4)
    monkeypatch.setattr(smtp, "ALL_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=hang, args=(listener, first), daemon=True)
        thread.start()
        began = time.monotonic()
        with pytest.raises(smtp.NotSent, match="does not answer"):
            smtp.send(f"smtp://127.0.0.1:{listener.getsockname()[1]}", a_mail())
        took = time.monotonic() - began
        thread.join(30)

    assert took < 5


def test_all_time_limits_together_end_before_the_next_try():
    from app.mail import outbox

    assert smtp.ANSWER_SECONDS < smtp.ALL_SECONDS < outbox.RETRY_AFTER[0]


def test_the_doctor_may_ask_the_server(post_office):
    smtp.check(post_office.url)
    post_office.close()
    with pytest.raises(smtp.NotSent):
        smtp.check(post_office.url)
    assert post_office.mails == []

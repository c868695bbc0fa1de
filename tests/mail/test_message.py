"""What leaves: plain text in UTF-8, whose headers nobody but us writes."""

from __future__ import annotations

from email import policy
from email.parser import BytesParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.mail.message import UnusableAddress, build
from app.mail.outbox import Written

NOW = 1_790_000_000


def read(written, recipient="bo@acme.example", sender="Keyporter <no-reply@keyporter.example>", mail_id=7):
    data = build(written, sender=sender, recipient=recipient, mail_id=mail_id, now=NOW).as_bytes()
    return data, BytesParser(policy=policy.default).parsebytes(data)


def text_of(message):
    return message.get_content().replace("\r\n", "\n")


def test_it_says_that_a_program_sent_it_when_and_to_whom():
    _data, message = read(Written("Token for Power BI", "One.\n\nTwo."))

    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Date"] == "Mon, 21 Sep 2026 14:13:20 +0000"
    assert message["To"] == "bo@acme.example"
    assert message["From"] == "Keyporter <no-reply@keyporter.example>"
    assert message["Message-ID"].endswith("@keyporter.example>")
    assert message.get_content_type() == "text/plain"
    assert message.get_content_charset() == "utf-8"
    assert text_of(message) == "One.\n\nTwo.\n"


def test_a_text_of_another_language_arrives_as_it_is():
    data, message = read(Written("Ihr Token für „Bücher“ läuft ab", "Schöne Grüße – wir"))

    assert message["Subject"] == "Ihr Token für „Bücher“ läuft ab"
    assert text_of(message) == "Schöne Grüße – wir\n"
    assert data.isascii()


@pytest.mark.parametrize(
    "name",
    [
        "x\r\nBcc: eve@evil.example",
        "x\nBcc: eve@evil.example\n\nbody",
        "x\rBcc: eve@evil.example",
        "x\u2028Bcc: eve@evil.example",
        "x\x85Bcc: eve@evil.example",
        "x\x00y",
        "\r\n\r\nHello",
        "=?utf-8?q?x=0D=0ABcc:_eve@evil.example?=",
    ],
)
def test_a_name_with_line_breaks_begins_no_header(name):
    data, message = read(Written(f"Token for {name} expires", f"About {name}"))

    assert set(message.keys()) == {
        "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted",
        "Content-Type", "Content-Transfer-Encoding", "MIME-Version",
    }  # fmt: skip
    assert message["To"] == "bo@acme.example"
    assert b"\nBcc" not in data.partition(b"\r\n\r\n")[0]


@given(st.text(max_size=200), st.text(max_size=200))
def test_no_text_whatsoever_changes_the_headers(subject, body):
    message = read(Written(subject, body))[1]

    assert len(message.keys()) == 9
    assert message["To"] == "bo@acme.example"


@pytest.mark.parametrize(
    "recipient",
    [
        "bo@acme.example, eve@evil.example",
        "bo@acme.example,eve@evil.example",
        "bo,eve@evil.example",
        "bo<eve@evil.example>",
        "<eve@evil.example>",
        "bo@acme.example\r\nBcc:eve@evil.example",
        "bo\0@acme.example",
        '"bo eve"@acme.example',
        "bo@[127.0.0.1]",
        "bo",
        "bo@",
        "@acme.example",
        "bo@acme..example",
        "bo@" + "a" * 70 + ".example",
    ],
)
def test_an_address_that_is_more_than_one_gets_nothing(recipient):
    with pytest.raises(UnusableAddress):
        read(Written("x", "y"), recipient=recipient)


def test_a_host_name_in_other_letters_is_written_as_the_dns_has_it():
    assert read(Written("x", "y"), recipient="bo@bücher.example")[1]["To"] == "bo@xn--bcher-kva.example"


def test_the_same_words_have_the_same_id_and_others_have_another():
    """A mail that goes out twice is shown once; one with a newer link in it is shown."""
    first = read(Written("x", "link 1"))[1]["Message-ID"]

    assert read(Written("x", "link 1"))[1]["Message-ID"] == first
    assert read(Written("x", "link 2"))[1]["Message-ID"] != first
    assert read(Written("x", "link 1"), mail_id=8)[1]["Message-ID"] != first

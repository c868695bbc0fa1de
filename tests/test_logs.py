"""The log: one line per request, nothing secret in any line, and nobody outside writes a line."""

from __future__ import annotations

import io
import json
import logging
import logging.config
import re

import pytest

from app.logs import JsonFormatter, RedactingFormatter, logging_config, new_request_id, redacted
from keyporter import token_format
from tests.world import Browser, basic

# The same in every process: test ids are made of it.
_BODY = "kpa1w" + "Zq9" * 9 + "xy"
TOKEN = _BODY + token_format.checksum(_BODY)
HIDDEN = TOKEN[:5] + "(hidden)"


def record(message, *args, exc_info=None, **fields):
    made = logging.LogRecord("test", logging.INFO, __file__, 1, message, args, exc_info)
    made.__dict__.update(fields)
    return made


@pytest.fixture(params=[RedactingFormatter, JsonFormatter])
def formatter(request):
    return request.param()


@pytest.mark.parametrize(
    "text",
    [
        TOKEN,
        f"x {TOKEN} y",
        f"access_token%3D{TOKEN}",
        f"x{TOKEN}y",
        f"/path/{TOKEN}/x",
        f"{TOKEN}{TOKEN}",
        "client_secret=our-own-Secret_2026",
        "client_secret%3Dour-own-Secret_2026",
        "'client_secret': 'our-own-Secret_2026'",
        '{"secret": "our-own-Secret_2026 with spaces"}',
        "password='our-own-Secret_2026 x'",
        "PASSWORD=our-own-Secret_2026&x=1",
        "Authorization: Basic our-own-Secret_2026==",
        "authorization: bearer our-own-Secret_2026",
        "code=our-own-Secret_2026",
        "code_verifier=our-own-Secret_2026",
        "csrf_token=our-own-Secret_2026",
    ],
)
def test_no_formatter_shows_a_secret(formatter, text):
    try:
        raise ValueError(text)
    except ValueError as error:
        info = (type(error), error, error.__traceback__)
    lines = [
        formatter.format(record(text)),
        formatter.format(record("%s", text)),
        formatter.format(record("x", path=text, client_id=text)),
        formatter.format(record("x", exc_info=info)),
    ]

    for line in lines:
        assert "(hidden)" in line
        for secret in (TOKEN[5:], "our-own-Secret_2026"):
            assert secret not in line


def test_kind_and_month_of_a_token_stay():
    assert redacted(f"a {TOKEN} b") == f"a {HIDDEN} b"


def test_ordinary_text_is_left_alone():
    text = "token refused: secret_mismatch GET /settings/app/api-clients kpa short Zürich"

    assert redacted(text) == text


@pytest.mark.parametrize(
    "hostile",
    ["\r", "\x1b[31m", "\x00", "\x08", "\x7f", "\x85", "\x9b", "\u2028", "\u202e", "\x0b"],
)
def test_no_formatter_writes_a_control_character(formatter, hostile):
    for made in (record(f"a{hostile}b"), record("x", path=f"/a{hostile}b", client_id=f"a{hostile}b")):
        assert hostile not in formatter.format(made)


FORGED = "2026-01-01T00:00:00Z INFO keyporter.request: request status=200 ip=192.0.2.1"


@pytest.mark.parametrize("breaks", ["\n", "\r\n", "\n\n", "\n    \n"])
def test_nobody_outside_writes_a_line_of_their_own(breaks):
    formatter = RedactingFormatter()
    for made in (
        record(f"x{breaks}{FORGED}"),
        record("x", path=f"/{breaks}{FORGED}"),
        record("x", client_id=f"x{breaks}{FORGED}"),
    ):
        first, *rest = formatter.format(made).split("\n")
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ INFO test: x", first)
        assert all(line.startswith("    ") for line in rest)


def test_nobody_outside_writes_a_field_of_their_own():
    line = RedactingFormatter().format(record("x", path="/a status=200 user_id=1", status=404))

    assert line.endswith(' path="/a status=200 user_id=1" status=404')


def test_a_traceback_keeps_its_lines(formatter):
    try:
        raise ValueError("first\nsecond")
    except ValueError as error:
        text = formatter.format(record("crash", exc_info=(type(error), error, error.__traceback__)))

    if isinstance(formatter, JsonFormatter):
        assert "\n" not in text
        assert json.loads(text)["exception"].endswith("ValueError: first\nsecond")
    else:
        assert text.endswith("\n    ValueError: first\n    second")


def test_a_json_line_is_an_object_with_what_was_asked_for():
    made = record('a "quoted"\nline', tenant="acme", status=200, path="/é", user_id=None)
    made.created, made.msecs = 1_800_000_000.25, 250

    line = JsonFormatter().format(made)

    assert "\n" not in line
    assert json.loads(line) == {
        "ts": "2027-01-15T08:00:00.250Z",
        "level": "INFO",
        "logger": "test",
        "event": 'a "quoted"\nline',
        "tenant": "acme",
        "path": "/é",
        "status": 200,
    }


def test_libraries_that_print_secrets_are_never_at_debug():
    for level in ("DEBUG", "INFO", "ERROR"):
        loggers = logging_config(level, "text")["loggers"]
        assert loggers["authlib"]["level"] == ("ERROR" if level == "ERROR" else "INFO")
        assert loggers["sqlalchemy.engine"]["level"] == ("ERROR" if level == "ERROR" else "WARNING")


def test_request_ids_can_be_read_out():
    ids = {new_request_id() for _ in range(200)}

    assert len(ids) == 200
    assert all(re.fullmatch(r"[2-9BCDFGHJKMNPQRTVWXYZ]{4}-[2-9BCDFGHJKMNPQRTVWXYZ]{2}", one) for one in ids)


@pytest.fixture
def log():
    """What the process would write at DEBUG, in both formats, to one stream."""
    stream = io.StringIO()
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    levels = {name: logging.getLogger(name).level for name in logging_config("DEBUG", "text")["loggers"]}
    logging.config.dictConfig(logging_config("DEBUG", "text"))
    root.handlers = []
    for formatter in (RedactingFormatter(), JsonFormatter()):
        handler = logging.StreamHandler(stream)
        handler.setFormatter(formatter)
        root.addHandler(handler)
    yield stream
    root.handlers = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


def test_whole_flows_at_debug_leave_no_secret(log, app, world, tenant, machine, member):
    typed = world.client(tenant, secret="our-own-Secret_2026.for~BI")
    field_app = world.oauth_app(tenant)
    browser = Browser(app, tenant)
    browser.sign_in(member)
    code = browser.get_code(field_app, client_secret=field_app.secret, state="very-secret-state")
    token = machine.token(typed)
    answers = [
        machine.redeem(field_app, code),
        machine.redeem(field_app, code),
        machine.verify(token),
        machine.open(f"/oauth2/verify?access_token={token}"),
        machine.open(f"/oauth2/token?client_secret={typed.secret}", method="POST"),
        machine.post_token("grant_type=client_credentials", headers=basic(typed.client_id, typed.secret)),
        machine.post_token("grant_type=client_credentials", headers=basic(typed.secret, typed.client_id)),
        machine.open(f"/oauth2/{token}"),
    ]
    browser.sign_in(member, password="wrong-Password-here")

    written = log.getvalue()

    assert answers[0].status_code == 200
    assert written.count("\n") > 20
    for secret in [code, token, field_app.secret, answers[0].json["access_token"], member.password]:
        assert secret not in written
        assert secret[5:] not in written
    for secret in [typed.secret, "wrong-Password-here", "very-secret-state"]:
        assert secret not in written
    assert basic(typed.client_id, typed.secret)["Authorization"][6:] not in written


def test_a_requests_line_says_who_did_what(log, machine, api_client):
    response = machine.request_token(api_client)

    entries = [json.loads(line) for line in log.getvalue().splitlines() if line.startswith("{")]
    entry = next(entry for entry in entries if entry.get("request_id") == response.headers["Request-Id"])
    assert entry.pop("ms") >= 0
    assert entry.pop("ts")
    assert entry == {
        "level": "INFO", "logger": "keyporter.request", "event": "request", "tenant": "acme",
        "method": "POST", "path": "/oauth2/token", "status": 200, "client_id": api_client.client_id,
        "ip": "127.0.0.1",
        "request_id": response.headers["Request-Id"],
    }  # fmt: skip


def test_hostile_requests_write_one_line_each(log, machine):
    before = log.getvalue().count("\n")

    for path in [f"/x\n{FORGED}", f"/oauth2/\r\n{FORGED}", "/\x1b[2J", "/\u202e"]:
        machine.open("/", environ_overrides={"PATH_INFO": path.encode().decode("latin-1")})
    machine.post_token({"grant_type": "client_credentials", "client_id": f"x\n{FORGED}", "client_secret": "x"})
    machine.post_token({"grant_type": "client_credentials", "client_id": "y" * 30_000, "client_secret": "x"})

    lines = log.getvalue().split("\n")[before:-1]
    assert len([line for line in lines if " keyporter.request: request" in line and line.startswith("2")]) == 6
    assert not [line for line in lines if line.startswith("2026-01-01")]
    assert "\x1b" not in log.getvalue()
    assert "y" * 5 not in log.getvalue()

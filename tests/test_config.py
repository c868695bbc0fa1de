"""What the environment must say before a server starts."""

from __future__ import annotations

import pytest

from config import Config, ConfigError

LONG, ANOTHER = "k" * 32, "f" * 32


@pytest.mark.parametrize("text,seconds", [("", 1.0), ("0.2", 0.2), ("5", 5.0), ("60", 60.0)])
def test_the_bound_of_revocation_is_read_in_seconds(text, seconds):
    assert seconds == Config.from_env({"SECRET_KEY": LONG, "REVOCATION_BOUND": text}).REVOCATION_BOUND


@pytest.mark.parametrize("text", ["0", "0.1", "61", "soon", "-1", "nan", "1e1", "1."])
def test_a_bound_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="REVOCATION_BOUND must be a number of seconds"):
        Config.from_env({"SECRET_KEY": LONG, "REVOCATION_BOUND": text})


def test_old_keys_are_read_one_by_one():
    config = Config.from_env({"SECRET_KEY": LONG, "SECRET_KEY_FALLBACKS": f" {ANOTHER} ,, {LONG}"})

    assert config.SECRET_KEY_FALLBACKS == (ANOTHER, LONG)


def test_an_old_key_that_could_be_guessed_is_refused():
    """It signs cookies as well as the current one does."""
    with pytest.raises(ConfigError, match="SECRET_KEY_FALLBACKS is too short"):
        Config.from_env({"SECRET_KEY": LONG, "SECRET_KEY_FALLBACKS": f"{ANOTHER},short"})


@pytest.mark.parametrize(
    "url", ["redis://127.0.0.1:6379/0", "rediss://:secret@redis.example", "unix:///run/redis.sock"]
)
def test_the_address_of_redis_is_read_from_a_variable_or_a_file(url, tmp_path):
    (tmp_path / "redis").write_text(f"{url}\n")

    assert Config.from_env({"SECRET_KEY": LONG}).REDIS_URL is None
    for setting in ({"REDIS_URL": url}, {"REDIS_URL_FILE": str(tmp_path / "redis")}):
        read = Config.from_env({"SECRET_KEY": LONG, **setting}).REDIS_URL
        assert read == url


@pytest.mark.parametrize(
    "url", ["localhost:6379", "http://h/", "redis://:my-password@h:x", "redis://h/?socket_timeout=x"]
)
def test_an_address_that_is_none_of_redis_is_refused_and_not_repeated(url):
    with pytest.raises(ConfigError, match="REDIS_URL must be an address like redis://host:6379/0") as refused:
        Config.from_env({"SECRET_KEY": LONG, "REDIS_URL": url})

    assert "my-password" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "smtp://mail.example.com",
        "smtp://us%40er:p%3Ass@mail.example.com:587",
        "smtps://user:password@[2001:db8::1]:465/",
    ],
)
def test_the_address_of_the_mail_server_is_read_from_a_variable_or_a_file(url, tmp_path):
    (tmp_path / "smtp").write_text(f"{url}\n")
    sender = {"SECRET_KEY": LONG, "MAIL_FROM": "Acme <no-reply@acme.example>"}

    assert Config.from_env({"SECRET_KEY": LONG}).SMTP_URL is None
    for setting in ({"SMTP_URL": url}, {"SMTP_URL_FILE": str(tmp_path / "smtp")}):
        config = Config.from_env({**sender, **setting})
        assert url == config.SMTP_URL
        assert config.MAIL_FROM == "Acme <no-reply@acme.example>"


@pytest.mark.parametrize(
    "url",
    ["mail.example.com:25", "http://h/", "smtp://", "smtp://:my-password@h", "smtp://h:x", "smtp://h:0", "smtp://h/?my-password"],
)  # fmt: skip
def test_an_address_that_is_none_of_a_mail_server_is_refused_and_not_repeated(url):
    with pytest.raises(ConfigError, match="SMTP_URL must be an address like smtp://") as refused:
        Config.from_env({"SECRET_KEY": LONG, "SMTP_URL": url, "MAIL_FROM": "a@b.example"})

    assert "my-password" not in str(refused.value)


def test_a_mail_server_needs_to_know_from_whom():
    with pytest.raises(ConfigError, match="SMTP_URL needs MAIL_FROM too"):
        Config.from_env({"SECRET_KEY": LONG, "SMTP_URL": "smtp://h"})


@pytest.mark.parametrize("sender", ["Keyporter", "a@b@c", "<>", "a@b.example\nBcc: x@y", "a b@c.example"])
def test_a_sender_that_is_no_address_is_refused(sender):
    with pytest.raises(ConfigError, match="MAIL_FROM must be"):
        Config.from_env({"SECRET_KEY": LONG, "SMTP_URL": "smtp://h", "MAIL_FROM": sender})


def test_the_life_of_signed_tokens_and_of_their_keys_is_read_and_bounded():
    config = Config.from_env({"SECRET_KEY": LONG, "JWT_LIFETIME_MAX": "600", "SIGNING_KEY_DAYS": "0"})

    assert (config.JWT_LIFETIME_MAX, config.SIGNING_KEY_DAYS) == (600, 0)
    for name, value in (("JWT_LIFETIME_MAX", "59"), ("JWT_LIFETIME_MAX", "86401"), ("SIGNING_KEY_DAYS", "-1")):
        with pytest.raises(ConfigError, match=f"{name} must be a number from"):
            Config.from_env({"SECRET_KEY": LONG, name: value})

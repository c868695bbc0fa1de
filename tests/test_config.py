"""What the environment must say before a server starts."""

from __future__ import annotations

import pytest

from config import Config, ConfigError

LONG, ANOTHER = "k" * 32, "f" * 32


def test_old_keys_are_read_one_by_one():
    config = Config.from_env({"SECRET_KEY": LONG, "SECRET_KEY_FALLBACKS": f" {ANOTHER} ,, {LONG}"})

    assert config.SECRET_KEY_FALLBACKS == (ANOTHER, LONG)


def test_an_old_key_that_could_be_guessed_is_refused():
    """It signs cookies as well as the current one does."""
    with pytest.raises(ConfigError, match="SECRET_KEY_FALLBACKS is too short"):
        Config.from_env({"SECRET_KEY": LONG, "SECRET_KEY_FALLBACKS": f"{ANOTHER},short"})

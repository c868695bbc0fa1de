"""How often somebody failed to authenticate, and when that is too often."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask


def init_app(app: Flask) -> None:
    from app.attempts import models  # noqa: F401 - the migrations compare with what is known
    from app.attempts.budget import EXTENSION
    from app.attempts.counter import Counter, DatabaseCounter

    counter: Counter = DatabaseCounter()
    if app.config["REDIS_URL"]:
        from app.attempts.redis_counter import CounterWithFallback, RedisCounter

        counter = CounterWithFallback(RedisCounter(app.config["REDIS_URL"]), counter)
    app.extensions[EXTENSION] = counter

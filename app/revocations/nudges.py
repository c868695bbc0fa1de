"""Tells workers that something ended, so that requests that wait for it look at once. All of it may be lost.

Within a worker that is a call; between workers PostgreSQL's NOTIFY, which comes
with the commit, and Redis, if there is one. Who hears nothing looks by itself
every 50 ms (holding.py): these channels only make waiting shorter.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from threading import Event, Lock, Thread
from typing import Any

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from app.revocations.holding import Holders
from app.revocations.store import CHANNEL

log = logging.getLogger(__name__)

EXTENSION = "keyporter.revocations"

#: Seconds that a revocation waits for Redis, and for which Redis is left alone after it did not answer.
TIMEOUT = 0.5
REST = 5
#: Seconds after which a lost channel is opened again: first, and at the most.
PAUSES = (1.0, 30.0)
#: Seconds after which a listener looks whether it is to end.
_LISTEN = 5.0


class Nudges:
    """One worker's channels to all others, and the requests it holds. Listens once it holds one."""

    def __init__(self, redis_url: str | None) -> None:
        self.holders = Holders()
        self._redis_url = redis_url
        self._redis = None if redis_url is None else _redis(redis_url, socket_timeout=TIMEOUT)
        self._rests_until = 0.0
        self._stopped = Event()
        self._threads: list[Thread] = []
        self._lock = Lock()

    def tell(self) -> None:
        """Something ended, and is committed."""
        self.holders.nudge()
        if self._redis is None or time.monotonic() < self._rests_until:
            return
        try:
            self._redis.publish(CHANNEL, "")
        except RedisError as error:
            self._rests_until = time.monotonic() + REST
            # Not the error's text: it names the address, which may hold a password.
            log.warning("redis does not answer (%s): nobody is told that something ended", type(error).__name__)

    def listen(self, engine: Engine) -> None:
        """Begin to listen in threads of this process, if it does not yet."""
        with self._lock:
            if self._threads:
                return
            listeners: list[Callable[[], None]] = []
            if engine.dialect.name == "postgresql":
                listeners.append(lambda: self._listen_to_postgresql(engine))
            if self._redis_url is not None:
                listeners.append(self._listen_to_redis)
            self._threads = [Thread(target=self._keep, args=(one,), name="nudges", daemon=True) for one in listeners]
            for thread in self._threads:
                thread.start()

    def stop(self) -> None:
        """Hold nothing any more, and let the threads end by themselves."""
        self._stopped.set()
        self.holders.let_go()

    def _keep(self, listen: Callable[[], None]) -> None:
        """Listen, and again after the channel was lost, with longer and longer pauses."""
        pause, longest = PAUSES
        while not self._stopped.is_set():
            began = time.monotonic()
            try:
                listen()
            except Exception as error:
                # Whatever it is: no request may depend on it.
                kind = type(error.orig if isinstance(error, SQLAlchemyError) and hasattr(error, "orig") else error)
                log.warning("not told what ends (%s): requests that wait look by themselves", kind.__name__)
            pause = PAUSES[0] if time.monotonic() - began > longest else min(pause * 2, longest)
            self._stopped.wait(pause)

    def _listen_to_postgresql(self, engine: Engine) -> None:
        """On a connection of its own, beside the pool that the requests share."""
        args, parameters = engine.dialect.create_connect_args(engine.url)
        parameters.setdefault("connect_timeout", int(_LISTEN))
        connection: Any = engine.dialect.connect(*args, **parameters, autocommit=True)
        with connection:
            connection.execute(f"LISTEN {CHANNEL}")
            while not self._stopped.is_set():
                for _ in connection.notifies(timeout=_LISTEN):
                    self.holders.nudge()

    def _listen_to_redis(self) -> None:
        if self._redis_url is None:
            return
        redis: Any = _redis(self._redis_url, socket_timeout=2 * _LISTEN)
        with redis.pubsub(ignore_subscribe_messages=True) as channel:
            channel.subscribe(CHANNEL)
            while not self._stopped.is_set():
                if channel.get_message(timeout=_LISTEN) is not None:
                    self.holders.nudge()


def _redis(url: str, *, socket_timeout: float) -> Redis:
    # Once more without delay: an idle connection may have been closed at the other end.
    retry = Retry(NoBackoff(), 1)
    return Redis.from_url(url, socket_timeout=socket_timeout, socket_connect_timeout=TIMEOUT, retry=retry)

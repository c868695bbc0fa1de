"""The counter in Redis, for many hosts; and what happens while Redis does not answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from threading import Lock
from typing import TypeVar

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.attempts.counter import Counter, Limit

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds that a request waits for Redis.
TIMEOUT = 0.5
#: Seconds for which the database counts before Redis is tried again: not every request shall wait for it.
REST = 5
#: Seconds between two warnings of one process.
WARN_EVERY = 60

# Each script is one atomic step. The window is Redis's own clock: a key that expires.
_WAIT = """
local function wait()
    local left = redis.call('PTTL', KEYS[1])
    return left > 0 and math.ceil(left / 1000) or 1
end
local count = tonumber(redis.call('GET', KEYS[1]) or '0')
"""
_ADD = (
    _WAIT
    + """
if count >= tonumber(ARGV[1]) then return wait() end
redis.call('INCR', KEYS[1])
-- A key without an end, by whatever accident, would count for ever.
if redis.call('TTL', KEYS[1]) < 0 then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
return 0
"""
)
_FIND_WAIT = (
    _WAIT
    + """
return count >= tonumber(ARGV[1]) and wait() or 0
"""
)
_TAKE_BACK = (
    _WAIT
    + """
if count > 0 then redis.call('DECR', KEYS[1]) end
return 0
"""
)


class RedisCounter:
    """A Counter in Redis. Connects when it is first asked; raises RedisError."""

    def __init__(self, url: str) -> None:
        # Once more without delay: an idle connection may have been closed at the other end.
        retry = Retry(NoBackoff(), 1)
        self._redis = Redis.from_url(url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, retry=retry)
        self._add = self._redis.register_script(_ADD)
        self._find_wait = self._redis.register_script(_FIND_WAIT)
        self._take_back = self._redis.register_script(_TAKE_BACK)

    def add(self, tenant_id: int, digest: bytes, limit: Limit) -> int:
        return int(self._add([_key(tenant_id, digest)], [limit.most, limit.seconds]))

    def find_wait(self, tenant_id: int, digest: bytes, limit: Limit) -> int:
        return int(self._find_wait([_key(tenant_id, digest)], [limit.most]))

    def take_back(self, tenant_id: int, digest: bytes) -> None:
        self._take_back([_key(tenant_id, digest)])

    def clear(self, tenant_id: int, digest: bytes) -> None:
        self._redis.delete(_key(tenant_id, digest))

    def answers(self) -> bool:
        # A script, because that is what it has to be able to do.
        return self.find_wait(0, b"", Limit(1, 1)) == 0


class CounterWithFallback:
    """Counts in Redis; in the database while Redis does not answer, which nobody but the log notices.

    Neither knows what the other counted, so within a window a guesser has the
    budget twice at most.
    """

    def __init__(self, redis: RedisCounter, database: Counter) -> None:
        self._redis = redis
        self._database = database
        self._rests_until = 0.0
        self._warns_from = 0.0
        self._lock = Lock()

    def add(self, tenant_id: int, digest: bytes, limit: Limit) -> int:
        return self._ask(lambda counter: counter.add(tenant_id, digest, limit))

    def find_wait(self, tenant_id: int, digest: bytes, limit: Limit) -> int:
        return self._ask(lambda counter: counter.find_wait(tenant_id, digest, limit))

    def take_back(self, tenant_id: int, digest: bytes) -> None:
        self._ask(lambda counter: counter.take_back(tenant_id, digest))

    def clear(self, tenant_id: int, digest: bytes) -> None:
        self._database.clear(tenant_id, digest)
        self._ask(lambda counter: counter.clear(tenant_id, digest))

    def answers(self) -> bool:
        try:
            return self._redis.answers()
        except RedisError:
            return False

    def _ask(self, question: Callable[[Counter], T]) -> T:
        if time.monotonic() >= self._rests_until:
            try:
                return question(self._redis)
            except RedisError as error:
                self._rest(error)
        return question(self._database)

    def _rest(self, error: RedisError) -> None:
        now = time.monotonic()
        with self._lock:
            self._rests_until = now + REST
            if now < self._warns_from:
                return
            self._warns_from = now + WARN_EVERY
        # Not the error's text: it names the address, which may hold a password.
        log.warning("redis does not answer (%s): failures are counted in the database", type(error).__name__)


def _key(tenant_id: int, digest: bytes) -> str:
    return f"keyporter:attempts:{tenant_id}:{digest.hex()}"

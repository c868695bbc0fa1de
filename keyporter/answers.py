"""What issuers answered about tokens, for as long as it holds; bounded."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from keyporter.access_token import AccessToken
from keyporter.revocations import Ended, Stamp

if TYPE_CHECKING:
    from keyporter.servers import Server


class Answer:
    """What an issuer said about one token. Times are clock.now()'s."""

    __slots__ = ("asked_at", "edition", "ended", "ends_at", "server", "stamp", "token", "until")

    def __init__(
        self,
        server: Server,
        token: AccessToken | None,
        asked_at: float,
        until: float,
        ends_at: float,
        stamp: Stamp | None = None,
        ended: Ended | None = None,
    ) -> None:
        self.server = server
        #: None: it is not good.
        self.token = token
        #: When the question was sent: what ended later, the answer may not know.
        self.asked_at = asked_at
        #: From then on it is asked again.
        self.until = until
        #: When the token expires.
        self.ends_at = ends_at
        self.stamp = stamp
        self.ended = ended if stamp is not None else None
        #: Of ``ended``, when this was last found to stand; -1: never.
        self.edition = -1

    def is_good(self, now: float) -> bool:
        """True if it may be used without asking."""
        if now >= self.until:
            return False
        ended = self.ended
        if ended is None:
            return True
        return now - ended.known_until <= ended.bound and self._stands(ended)

    def is_fresh(self, now: float) -> bool:
        """True if it may be used by who has just asked: not if the answer took so long that it may be over."""
        if self.token is None or now - self.asked_at <= (1.0 if self.ended is None else self.ended.bound):
            return True
        return now < self.ends_at if self.ended is None else self.is_good(now)

    def is_bearable(self, now: float, stale_ok: float) -> bool:
        """True if it may be used, ``stale_ok`` seconds longer than usual, because the issuer cannot be reached."""
        if stale_ok <= 0 or self.token is None or now >= self.ends_at or now >= self.until + stale_ok:
            return False
        ended = self.ended
        return ended is None or (now - ended.known_until <= ended.bound + stale_ok and self._stands(ended))

    def _stands(self, ended: Ended) -> bool:
        edition = ended.edition
        if self.edition == edition:
            return True
        if self.stamp is None or not ended.covers(self.stamp):
            return False
        # What ended since raised the number again, and is then seen.
        self.edition = edition
        return True


class Answers:
    """The newest answers, by the digest of the token; good and bad ones apart: neither drive out the others."""

    def __init__(self, most: int) -> None:
        self._good: dict[bytes, Answer] = {}
        self._bad: dict[bytes, Answer] = {}
        self._most = most
        self._lock = threading.Lock()

    def get(self, digest: bytes) -> Answer | None:
        """What was last said about the token."""
        return self._good.get(digest) or self._bad.get(digest)

    def put(self, digest: bytes, answer: Answer) -> None:
        """Remember an answer; the oldest ones go when there are too many."""
        kept, others = (self._good, self._bad) if answer.token is not None else (self._bad, self._good)
        most = self._most if answer.token is not None else max(self._most // 10, 100)
        with self._lock:
            others.pop(digest, None)
            kept.pop(digest, None)
            if len(kept) >= most:
                for old in list(kept)[: max(most // 10, 1)]:
                    del kept[old]
            kept[digest] = answer

    def __len__(self) -> int:
        return len(self._good) + len(self._bad)

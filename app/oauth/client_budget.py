"""How often a caller may be wrong about a client, and what being wrong costs.

Every failure costs the same statements and the same slow hashes, whatever was
wrong. A program whose secret was right a moment ago meets none of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from app import credentials
from app.attempts import budget
from app.attempts.budget import Budget
from app.clients.registered import RegisteredClient
from app.credentials import Place

#: A client has two live secrets at most, and a person may have typed both.
SLOW_CHECKS = 2


@dataclass(frozen=True, slots=True)
class Caller:
    """Who says it is which client: ``client_id`` as it was sent, ``source`` as budget.source_of() counts addresses."""

    tenant_id: int
    client_id: str
    source: str

    @property
    def place(self) -> Place:
        return (self.tenant_id, self.client_id, self.source)

    def judge(
        self, client: RegisteredClient | None, secret: str | None, why_not: Callable[[], str | None]
    ) -> str | None:
        """What ``why_not()`` says: None, or a word for the log. Raises TooManyAttempts.

        ``client`` is who the caller says it is, if there is one.
        """
        stored = client.secrets if client else ()
        # Who presents no secret, or a known one, is not guessing: other people's guesses do not stand in the way.
        guesses = secret is not None and not credentials.was_verified(self.place, secret, stored)
        # Of 172 random bits it makes no difference how many guesses are evaluated at once.
        spends_first = guesses and any(map(credentials.is_slow, stored))
        if guesses:
            self._check()
        if spends_first:
            budget.spend_all(self.tenant_id, *self._budgets)
        reason = why_not()
        if reason is None:
            if spends_first:
                budget.give_all_back(self.tenant_id, *self._budgets)
            return None
        if not guesses:
            self._check()
        if not spends_first:
            budget.spend_all(self.tenant_id, *self._budgets)
        done = 0
        if reason == "secret_mismatch" and client is not None and secret is not None:
            done = sum(map(credentials.is_slow, [*stored, *(dead for dead, _ in client.dead_secrets)]))
            reason = _why_dead(client, secret) or reason
        credentials.spend_the_time_of_checks(SLOW_CHECKS - done)
        return reason

    @property
    def _budgets(self) -> tuple[Budget, ...]:
        # The address first: once it has no attempts left, it leaves no more rows behind.
        return (budget.ADDRESS, self.source), (budget.CLIENT, self.client_id, self.source)

    def _check(self) -> None:
        for kind, *parts in self._budgets:
            budget.check(self.tenant_id, kind, *parts)


def _why_dead(client: RegisteredClient, secret: str) -> str | None:
    """Why a secret of the client is not accepted any more, else None. All are compared, whatever fits."""
    reasons = [why for dead, why in client.dead_secrets if credentials.matches(secret, dead)]
    return reasons[0] if reasons else None

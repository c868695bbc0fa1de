"""What a check of a token costs in an API's own process, beside verifying a signature: `make bench-keyporter`.

The look-up asks an issuer in a thread of this process and follows its feed; what
is measured then is answered from memory, and a question that reached the issuer
meanwhile ends the run. The signatures are joserfc's, of the same claims.
"""

from __future__ import annotations

import json
import platform
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable

import joserfc
from joserfc import jwt
from joserfc.jwk import ECKey, Key, RSAKey

from keyporter import Call, Introspection
from keyporter.guard import Guard, Needs
from keyporter.testing import FakeTokens
from tests.keyporter.issuer_server import IssuerServer
from tests.server import wait_until

TARGET_MICROSECONDS = 2.0
ROUNDS = 7
MANY = 100_000
HERE = Call("api.acme.example", "https", "/reports")


def measure(work: Callable[[], object], times: int) -> float:
    """Microseconds that one call of ``work`` takes."""
    began = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - began) / times * 1e6


def remember(lookup: Introspection, token: str) -> None:
    """Let the look-up hold the answer for ``token``, with the feed followed."""
    lookup.find(token, HERE)
    wait_until(lambda: lookup.find(token, HERE) is not None and lookup.find_remembered(token, HERE)[0], "it follows")


def fill(lookup: Introspection, token: str, count: int) -> float:
    """Let it hold ``count`` answers more, each an object of its own; bytes of memory for each."""
    server = lookup._by_host[HERE.host]
    if server is None:
        raise RuntimeError("nothing was asked yet")
    body = {
        "active": True, "iss": server.issuer, "client_id": "powerbi", "sub": "client:powerbi",
        "exp": int(time.time()) + 3600, "iat": int(time.time()), "tenant": "acme", "client_name": "Power BI",
    }  # fmt: skip
    ended = lookup._ended[server.issuer]
    tracemalloc.start()
    for number in range(count):
        stamp = {"lane": 7, "position": 1, "keys": ["7", f"7.c{number % 1000}", f"7.k{number}"]}
        lookup._remember(
            server, number.to_bytes(32, "big"), body | {"revocation": stamp}, ended, time.monotonic(), None
        )
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The one that is measured is the newest again.
    lookup._answers._good.pop(next(iter(lookup._answers._good)))
    remember(lookup, token)
    return size / count


def verifier(key: Key, algorithm: str, claims: dict[str, object]) -> Callable[[], object]:
    """Verifies a signed token of those claims."""
    text = jwt.encode({"alg": algorithm, "typ": "at+jwt"}, claims, key, algorithms=[algorithm])
    return lambda: jwt.decode(text, key, algorithms=[algorithm])


def main() -> int:
    """Print a table; 1 if a token in memory costs more than the target."""
    claims: dict[str, object] = {
        "iss": "https://acme.example.com", "sub": "client:powerbi", "client_id": "powerbi", "scope": "reports:read",
        "exp": int(time.time()) + 3600, "iat": int(time.time()), "aud": "https://acme.example.com", "jti": "x" * 40,
    }  # fmt: skip
    fakes = FakeTokens()
    guard, needs, fake = Guard(), Needs(["reports:read"]), fakes.issue("reports:read")
    with IssuerServer().serving() as issuer:
        token = issuer.issue(scope="reports:read")
        few = Introspection(issuer.issuer, client_id="api", client_secret="secret")
        many = Introspection(issuer.issuer, client_id="api", client_secret="secret", max_tokens=2 * MANY)
        for lookup in (few, many):
            remember(lookup, token)
        per_token = fill(many, token, MANY)
        asked = issuer.asked["/introspect"]
        contenders: dict[str, tuple[Callable[[], object], int]] = {
            "look-up, 1 token in memory": (lambda: few.find(token, HERE), 100_000),
            f"look-up, {MANY:,} tokens in memory": (lambda: many.find(token, HERE), 100_000),
            "the guard around it (header, scopes)": (
                lambda: guard.check(fakes, needs, HERE, f"Bearer {fake}"),
                20_000,
            ),
            "RS256, 2048 bits (joserfc)": (verifier(RSAKey.generate_key(2048), "RS256", claims), 1_000),
            "ES256 (joserfc)": (verifier(ECKey.generate_key("P-256"), "ES256", claims), 1_000),
        }
        rounds = [{name: measure(work, times) for name, (work, times) in contenders.items()} for _ in range(ROUNDS)]
        if issuer.asked["/introspect"] != asked:
            raise RuntimeError("the issuer was asked: this measured its answers")
        few.close()
        many.close()
    medians = {name: statistics.median(one[name] for one in rounds) for name in contenders}
    best = medians["look-up, 1 token in memory"]
    print(f"Python {platform.python_version()}, joserfc {joserfc.__version__}; median of {ROUNDS}\n")  # noqa: T201
    print("| What | Microseconds | Times the look-up |\n|---|---|---|")  # noqa: T201
    for name, microseconds in medians.items():
        print(f"| {name} | {microseconds:.2f} | {microseconds / best:.1f} |")  # noqa: T201
    print(f"\n{per_token:,.0f} bytes for each token in memory. Questions to the issuer meanwhile: 0.")  # noqa: T201
    print(json.dumps({name: [round(one[name], 3) for one in rounds] for name in contenders}), file=sys.stderr)  # noqa: T201
    return 0 if best <= TARGET_MICROSECONDS else 1


if __name__ == "__main__":
    sys.exit(main())

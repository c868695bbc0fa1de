"""Which tenant's tokens are good on which host of a service."""

from __future__ import annotations

from collections.abc import Callable, Mapping

#: From the host called (lower-cased, without port) to the issuer identifier of its tenant; None: of no tenant.
Issuers = Callable[[str], "str | None"]


def one(issuer: str) -> Issuers:
    """A service of one tenant: whatever its host is called, that issuer's tokens are good."""
    return lambda host: issuer


def listed(issuers: Mapping[str, str]) -> Issuers:
    """From host names to issuers, for a service of several tenants.

    A name that begins with ``*.`` stands for every first label, which takes the
    place of ``*`` in the issuer: ``{"*.api.example.com": "https://*.example.com"}``.
    """
    exact = {host.lower(): issuer for host, issuer in issuers.items() if not host.startswith("*.")}
    by_rest = {host[2:].lower(): issuer for host, issuer in issuers.items() if host.startswith("*.")}

    def find(host: str) -> str | None:
        if host in exact:
            return exact[host]
        label, _, rest = host.partition(".")
        pattern = by_rest.get(rest)
        # Only what can be a label of a host name may become a part of an address that is called.
        if pattern is None or not label.replace("-", "a").isalnum() or not label.isascii():
            return None
        return pattern.replace("*", label, 1)

    return find


def parse(text: str) -> dict[str, str]:
    """``host=issuer`` pairs, separated by commas, as an environment variable holds them. ValueError if it does not."""
    pairs = [pair.strip().partition("=") for pair in text.split(",") if pair.strip()]
    for host, equals, issuer in pairs:
        if not equals or not host or not issuer.startswith(("https://", "http://")):
            raise ValueError(f"Write host=https://issuer, not {host}{equals}{issuer}")
    return {host.strip(): issuer.strip() for host, _, issuer in pairs}


def host_of(host: str) -> str:
    """A host as it is looked up: lower-cased, without the port and a dot at the end."""
    if host.startswith("["):
        return host.partition("]")[0].lower() + "]"
    return host.partition(":")[0].rstrip(".").lower()

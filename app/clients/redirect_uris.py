"""Which redirect URIs may be registered, and when one that was sent is a registered one.

Matching compares strings and never parses: RFC 9700 section 4.1.3.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

MAX_LENGTH = 2000

#: RFC 8252 section 7.3: an app on a person's own machine cannot know its port beforehand.
_LOOPBACK = re.compile(r"(http://(?:127\.0\.0\.1|\[::1\]))(?::([0-9]{1,5}))?((?:[/?].*)?)", re.DOTALL)
_HTTPS = re.compile(r"https://[^/?#]+")
_LOOPBACK_NAMES = re.compile(r"http://(?:127\.0\.0\.1|\[::1\]|localhost)(?::[0-9]{1,5})?(?:[/?].*)?")
#: RFC 8252 section 7.1: a reversed domain name, so there is a dot.
_PRIVATE_SCHEME = re.compile(r"[a-z][a-z0-9+-]*(?:\.[a-z0-9+-]+)+:/[^#]*")
#: The characters of RFC 3986, so no space, quote, backslash, control or non-ASCII character, and no `*`.
_URI_CHARACTERS = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()+,;=%]+")


class RedirectUriError(ValueError):
    """A redirect URI cannot be registered; the text is for a person."""


def is_registered(redirect_uri: str, registered: Iterable[str]) -> bool:
    """True if ``redirect_uri`` is one of ``registered``: the same string, or the same loopback IP with any port."""
    without_port = _without_loopback_port(redirect_uri)
    for candidate in registered:
        if candidate == redirect_uri:
            return True
        if without_port is not None and _without_loopback_port(candidate) == without_port:
            return True
    return False


def check(redirect_uri: str) -> str:
    """``redirect_uri`` if it may be registered. Raises RedirectUriError with what to change.

    Allowed: https, http on loopback, private-use schemes with a dot (RFC 8252
    section 7). Never: fragments (RFC 6749 section 3.1.2), user information, wildcards.
    """
    if len(redirect_uri) > MAX_LENGTH:
        raise RedirectUriError(f"A redirect URI has at most {MAX_LENGTH} characters.")
    shown = redirect_uri if len(redirect_uri) <= 100 else redirect_uri[:100] + "…"
    if not _URI_CHARACTERS.fullmatch(redirect_uri):
        raise RedirectUriError(f"{shown!r} has characters that a redirect URI cannot have (no spaces, no *).")
    if "#" in redirect_uri:
        raise RedirectUriError(f"{shown} must not have a # part.")
    try:
        parts = urlsplit(redirect_uri)
        port = parts.port
    except ValueError as error:
        raise RedirectUriError(f"{shown} is not an address.") from error
    if "@" in parts.netloc:
        raise RedirectUriError(f"{shown} must not hold a user name.")
    if port == 0:
        raise RedirectUriError(f"{shown} has no usable port.")
    if _HTTPS.match(redirect_uri) and parts.hostname:
        return redirect_uri
    if _LOOPBACK_NAMES.fullmatch(redirect_uri) or _PRIVATE_SCHEME.fullmatch(redirect_uri):
        return redirect_uri
    raise RedirectUriError(
        f"{shown} must start with https://, with http://127.0.0.1 or http://[::1], "
        "or with a scheme of your own that has a dot, like com.example.app:/"
    )


def is_on_this_device(redirect_uri: str) -> bool:
    """True if the answer goes to a program on the person's own device: loopback, or a private-use scheme."""
    return not redirect_uri.startswith("https://")


def _without_loopback_port(uri: str) -> str | None:
    """``uri`` without its port if its host is a loopback IP, else None."""
    match = _LOOPBACK.fullmatch(uri)
    if match is None:
        return None
    host, port, rest = match.groups()
    if port is not None and not 1 <= int(port) <= 65535:
        return None
    return host + rest

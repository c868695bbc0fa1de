"""The shape of Keyporter's tokens, codes and generated secrets.

40 characters of ``[A-Za-z0-9]``: ``kp``, a letter for the kind, two characters
for the month of expiry (base 62, months since January 2020; ``00`` where there
is none), 29 random characters (172 bits) and a CRC-32 in base 62. A string that
is not of this shape is refused without asking anybody, and secret scanners can
search for ``\\bkp[arcsd][0-9A-Za-z]{37}\\b``.

A signed access token is another thing: a JWT in compact form (RFC 7515 section
3.1), whose ``jti`` has the shape above. That one opens nothing by itself.

The checksum is no protection: it finds typing errors and noise, not forgeries.
"""

from __future__ import annotations

import re
import time
import zlib

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
LENGTH = 40
RANDOM_LENGTH = 29

ACCESS_TOKEN = "a"
REFRESH_TOKEN = "r"
AUTHORIZATION_CODE = "c"
CLIENT_SECRET = "s"
DEVICE_CODE = "d"
#: The ``jti`` of a signed access token (RFC 9068); it is no token.
JWT_ID = "j"

#: Characters of the longest signed token that is looked at.
MOST_JWS = 8192
_COMPACT_JWS = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)

_CHECKSUM_LENGTH = 6
_DIGITS = {character: value for value, character in enumerate(ALPHABET)}


def is_well_formed(text: str, kind: str) -> bool:
    """True if ``text`` has the shape and the checksum of a ``kind``, one of the letters above."""
    return (
        len(text) == LENGTH
        and text.isascii()
        and text.isalnum()
        and text[:2] == "kp"
        and text[2] == kind
        and text[-_CHECKSUM_LENGTH:] == checksum(text[:-_CHECKSUM_LENGTH])
    )


def is_compact_jws(text: str) -> bool:
    """True if ``text`` has the shape of a signed token: three parts in base64url, 8 kB at most."""
    return len(text) <= MOST_JWS and _COMPACT_JWS.fullmatch(text) is not None


def may_be_access_token(text: str) -> bool:
    """True if ``text`` may be an access token, opaque or signed; all others are refused without asking anybody."""
    return is_well_formed(text, ACCESS_TOKEN) or is_compact_jws(text)


def checksum(body: str) -> str:
    """The six characters that follow ``body``: its CRC-32 in base 62, most significant first."""
    return encode(zlib.crc32(body.encode("ascii")), _CHECKSUM_LENGTH)


def expiry_month(text: str) -> int:
    """The month of expiry that a well-formed ``text`` names, in months since January 2020."""
    return _DIGITS[text[3]] * 62 + _DIGITS[text[4]]


def month_of(epoch: int) -> int:
    """Months from January 2020 to the month of ``epoch`` (UTC epoch seconds)."""
    moment = time.gmtime(epoch)
    return (moment.tm_year - 2020) * 12 + moment.tm_mon - 1


def encode(number: int, width: int) -> str:
    """``number`` in base 62, padded with ``0`` to ``width`` characters."""
    characters = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        characters.append(ALPHABET[digit])
    return "".join(reversed(characters))

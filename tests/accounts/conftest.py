"""Slow hashes that can be counted."""

from __future__ import annotations

import pytest

from app import credentials


@pytest.fixture
def evaluated(monkeypatch):
    """Every password that is compared with a hash, in order."""
    compared: list[str] = []
    hasher = credentials._hasher

    class Counting:
        hash = hasher.hash

        def verify(self, expected: str, text: bytes) -> bool:
            compared.append(text.decode())
            return hasher.verify(expected, text)

    monkeypatch.setattr(credentials, "_hasher", Counting())
    return compared

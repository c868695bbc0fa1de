"""Slow hashes that can be counted, and cheap ones where there are many."""

from __future__ import annotations

import pytest
from argon2 import PasswordHasher

from app import credentials


@pytest.fixture
def evaluated(monkeypatch):
    """Every password that is compared with a hash, in order. The hash is argon2id too, but a cheap one."""
    compared: list[str] = []
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)

    class Counting:
        hash = cheap.hash

        def verify(self, expected: str, text: bytes) -> bool:
            compared.append(text.decode())
            return cheap.verify(expected, text)

    monkeypatch.setattr(credentials, "_hasher", Counting())
    monkeypatch.setattr(credentials, "_nobodys_hash", cheap.hash("nobody"))
    return compared

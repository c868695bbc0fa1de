"""What the tests of the package share."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _as_a_service_runs(without_event_loop):
    """Every one of them may begin an event loop of its own."""

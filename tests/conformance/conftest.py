"""Fixtures of other folders that the checks need too."""

from __future__ import annotations

from tests.architecture.test_doors import open_forms
from tests.client_manager.conftest import at_work

__all__ = ["at_work", "open_forms"]

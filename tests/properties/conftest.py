from __future__ import annotations

from tests.fuzzing import load_profile

load_profile()

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.fuzzing import STEADY


@pytest.mark.parametrize("environment", [{}, {"CI": "true"}], ids=["at a desk", "in CI"])
def test_everywhere_the_same_examples_come(environment):
    program = (
        "from tests.fuzzing import load_profile, settings; load_profile(); print(settings.get_current_profile_name())"
    )
    outside = {name: value for name, value in os.environ.items() if name != "CI"}
    answer = subprocess.run(
        [sys.executable, "-c", program], env={**outside, **environment}, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == STEADY

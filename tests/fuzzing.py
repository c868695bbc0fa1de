"""How hard the tests look that make up their own input.

In the ordinary run the same examples come each time, so that it fails only for
what was changed. `make fuzz` draws other ones each time, and many more.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

STEADY = "steady"
FUZZ = "fuzz"

#: A loaded machine is slow at any example; and what a test makes beforehand, its examples do not change.
_PATIENT: dict[str, object] = {
    "deadline": None,
    "database": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
}

settings.register_profile(STEADY, derandomize=True, max_examples=100, **_PATIENT)  # type: ignore[arg-type]
settings.register_profile(FUZZ, max_examples=5_000, print_blob=True, **_PATIENT)  # type: ignore[arg-type]


#: What is loaded when nobody asked: by itself, hypothesis takes another one where the environment says CI.
_UNASKED = {"default", "ci"}


def load_profile() -> None:
    """Be steady, unless another profile was asked for (pytest's --hypothesis-profile)."""
    if settings.get_current_profile_name() in _UNASKED:
        settings.load_profile(STEADY)

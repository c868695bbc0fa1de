"""The forms of consent and connected apps: buttons, so nothing but the CSRF token."""

from __future__ import annotations

from flask_wtf import FlaskForm


class ConsentForm(FlaskForm):
    """The person's answer is the button's: ``decision`` is "allow" or "cancel"."""


class RemoveAppForm(FlaskForm):
    """The button is the whole input."""

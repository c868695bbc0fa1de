"""The forms of consent and connected apps: mostly buttons, so nothing but the CSRF token."""

from __future__ import annotations

from flask_wtf import FlaskForm
from wtforms import HiddenField, StringField
from wtforms.validators import DataRequired

from app.languages import lazy_gettext as _l


class ConsentForm(FlaskForm):
    """The person's answer is the button's: ``decision`` is "allow" or "cancel"."""


class RemoveAppForm(FlaskForm):
    """The button is the whole input."""


class UserCodeForm(FlaskForm):
    """What a person reads from a device. Which shapes of it count is devices.read_user_code's to say."""

    user_code = StringField(
        _l("Code"),
        validators=[DataRequired(_l("Enter the code."))],
        description=_l("Your device shows it: 8 letters."),
    )


class DeviceDecisionForm(FlaskForm):
    """The person's answer is the button's: ``decision`` is "allow" or "cancel"; the code says to which question."""

    user_code = HiddenField()

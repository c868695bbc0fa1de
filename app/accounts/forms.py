"""The forms of sign-in and sign-out, of passwords, and of a person's own account."""

from __future__ import annotations

from flask_wtf import FlaskForm
from wtforms import BooleanField, EmailField, PasswordField, StringField, SubmitField
from wtforms.validators import InputRequired, Length

from app.accounts.registry import PASSWORD_MAX_LENGTH, PASSWORD_MIN_LENGTH
from app.languages import lazy_gettext as _l

_EMAIL_MAX_LENGTH = 254

_TOO_LONG = _l("Use %(most)s characters or fewer.", most=PASSWORD_MAX_LENGTH)


class SignInForm(FlaskForm):
    email = EmailField(
        _l("Email"),
        validators=[
            InputRequired(_l("Enter your email.")),
            Length(max=_EMAIL_MAX_LENGTH, message=_l("Use %(most)s characters or fewer.", most=_EMAIL_MAX_LENGTH)),
        ],
    )
    password = PasswordField(
        _l("Password"),
        validators=[InputRequired(_l("Enter your password.")), Length(max=PASSWORD_MAX_LENGTH, message=_TOO_LONG)],
    )
    remember = BooleanField(
        _l("Keep me signed in on this device for 30 days"), description=_l("Not on shared computers.")
    )
    submit = SubmitField(_l("Sign in"))


class ConfirmForm(FlaskForm):
    """The password again. Its name is nobody else's: it may travel together with another form's fields."""

    confirm_password = PasswordField(
        _l("Password"),
        validators=[InputRequired(_l("Enter your password.")), Length(max=PASSWORD_MAX_LENGTH, message=_TOO_LONG)],
    )


class ForgottenForm(FlaskForm):
    email = EmailField(
        _l("Email"),
        validators=[
            InputRequired(_l("Enter your email.")),
            Length(max=_EMAIL_MAX_LENGTH, message=_l("Use %(most)s characters or fewer.", most=_EMAIL_MAX_LENGTH)),
        ],
    )


class SetPasswordForm(FlaskForm):
    """A password of one's own choice; whose it is, the link says."""

    password = PasswordField(
        _l("New password"),
        description=_l("%(least)s characters or more.", least=PASSWORD_MIN_LENGTH),
        validators=[
            InputRequired(_l("Enter a password.")),
            Length(min=PASSWORD_MIN_LENGTH, message=_l("Use %(least)s characters or more.", least=PASSWORD_MIN_LENGTH)),
            Length(max=PASSWORD_MAX_LENGTH, message=_TOO_LONG),
        ],
    )


class SignOutForm(FlaskForm):
    """Nothing but the CSRF token: the button is the whole input."""


class EndSessionForm(FlaskForm):
    """Which of one's own sessions ends."""

    session = StringField(validators=[InputRequired()])


class ChooseForm(FlaskForm):
    """As which of the people who are signed in with it the browser goes on."""

    session = StringField(validators=[InputRequired()])


class LanguageForm(FlaskForm):
    """Which language this browser reads from now on."""

    language = StringField()

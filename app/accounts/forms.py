"""The forms of sign-in, of giving the password again, and of sign-out."""

from __future__ import annotations

from flask_wtf import FlaskForm
from wtforms import EmailField, PasswordField, SubmitField
from wtforms.validators import InputRequired, Length

from app.accounts.registry import PASSWORD_MAX_LENGTH


class SignInForm(FlaskForm):
    email = EmailField("Email", validators=[InputRequired("Enter your email."), Length(max=254)])
    password = PasswordField(
        "Password", validators=[InputRequired("Enter your password."), Length(max=PASSWORD_MAX_LENGTH)]
    )
    submit = SubmitField("Sign in")


class ConfirmForm(FlaskForm):
    """The password again. Its name is nobody else's: it may travel together with another form's fields."""

    confirm_password = PasswordField(
        "Password", validators=[InputRequired("Enter your password."), Length(max=PASSWORD_MAX_LENGTH)]
    )


class SignOutForm(FlaskForm):
    """Nothing but the CSRF token: the button is the whole input."""

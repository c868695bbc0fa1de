"""The forms of sign-in and sign-out."""

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


class SignOutForm(FlaskForm):
    """Nothing but the CSRF token: the button is the whole input."""

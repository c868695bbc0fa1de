"""The forms of the pages for members."""

from __future__ import annotations

from flask_wtf import FlaskForm
from wtforms import EmailField, RadioField, StringField
from wtforms.fields import SelectChoice  # type: ignore[attr-defined]
from wtforms.validators import InputRequired, Length

from app.accounts.models import ADMIN, MEMBER
from app.languages import lazy_gettext as _l


class InviteForm(FlaskForm):
    name = StringField(
        _l("Name"),
        validators=[
            InputRequired(_l("Enter a name.")),
            Length(max=80, message=_l("Use %(most)s characters or fewer.", most=80)),
        ],
    )
    email = EmailField(
        _l("Email"),
        validators=[
            InputRequired(_l("Enter an email.")),
            Length(max=254, message=_l("Use %(most)s characters or fewer.", most=254)),
        ],
    )
    role = RadioField(
        _l("Role"),
        choices=[
            SelectChoice(MEMBER, _l("Member – signs in and uses apps")),
            SelectChoice(ADMIN, _l("Admin – manages API clients and members")),
        ],
        default=MEMBER,
    )

"""The forms of the client manager. What a client may be called is decided in app/clients/rules.py."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from flask_wtf import FlaskForm
from wtforms import BooleanField, HiddenField, RadioField, SelectMultipleField, StringField, TextAreaField
from wtforms.fields import SelectChoice  # type: ignore[attr-defined]
from wtforms.validators import ValidationError
from wtforms.widgets import CheckboxInput, ListWidget

from app import credentials
from app.accounts.models import User
from app.client_manager import sent_forms
from app.clients import registry, rules
from app.clients.rules import ClientError, NewSecret
from app.languages import gettext as _
from app.languages import lazy_gettext as _l
from app.management import actions
from app.tenants.models import Scope
from app.words import in_words

#: The values are the keys of registry.OVERLAPS.
OVERLAP_CHOICES = [
    SelectChoice("24h", _l("In 24 hours")),
    SelectChoice("7d", _l("In 7 days")),
    SelectChoice("1h", _l("In 1 hour")),
    SelectChoice("now", _l("Now, because it leaked")),
]

#: The choice of a token's lifetime that goes with a date.
UNTIL = "until"


def tidy(text: str | None) -> str:
    """``text`` as a person meant it: without the spaces and line breaks that pasting adds at its ends."""
    return (text or "").strip()


class Text(StringField):
    """One line of text, tidied; empty if nothing was sent."""

    data: str

    def __init__(self, label: Any, **options: Any) -> None:
        super().__init__(label, filters=[tidy], **options)


class FormId(HiddenField):
    """What makes a form one of a kind, see app/client_manager/sent_forms.py."""

    data: str

    def __init__(self, **options: Any) -> None:
        super().__init__(filters=[tidy], default=sent_forms.new_form_id, **options)


class Checkboxes(SelectMultipleField):
    """Any number of things out of a list, each with a box to tick."""

    data: list[str]
    widget = ListWidget(prefix_label=False)
    option_widget = CheckboxInput()


def end_of_day(text: str, first: int, last: int) -> int:
    """The last second (UTC) of the day that a date field holds, ``last`` at most; both limits are epoch seconds.

    Raises ValidationError for what is no day between the two.
    """
    try:
        day = date.fromisoformat(text)
        at = int(datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=UTC).timestamp())
    except (ValueError, OverflowError):
        at = -1
    if at < first or at - 86_399 > last:
        limits = {"first": in_words(first), "last": in_words(last)}
        raise ValidationError(_("Choose a date from %(first)s to %(last)s.", **limits))
    return min(at, last)


class DetailsForm(FlaskForm):
    """What people read of a client, and the ID by which programs name it."""

    name = Text(_l("Name"), description=_l("You and your team see this."))
    description = TextAreaField(_l("What is it for? (optional)"), description=_l("Helps whoever finds it next year."))
    client_id = Text(_l("Client ID"), default=credentials.new_client_id)

    def validate_name(self, field: Text) -> None:
        try:
            rules.check_name(field.data)
        except ClientError as error:
            raise ValidationError(str(error)) from error

    def validate_description(self, field: TextAreaField) -> None:
        try:
            rules.check_description(field.data or "")
        except ClientError as error:
            raise ValidationError(str(error)) from error

    def validate_client_id(self, field: Text) -> None:
        try:
            rules.check_client_id(field.data)
        except ClientError as error:
            raise ValidationError(str(error)) from error


class LimitsForm(FlaskForm):
    """Who looks after a client, what it may do, and from where."""

    owner = Text(_l("Who looks after it? (optional)"), description=_l("We mail this person before tokens expire."))
    networks = TextAreaField(
        _l("Only from these networks (optional)"),
        description=_l("One address or network per line, for example 203.0.113.0/24. Empty: from everywhere."),
    )
    access = RadioField(
        _l("What may it do?"),
        choices=[SelectChoice("all", _l("Everything")), SelectChoice("some", _l("Only what you choose here"))],
        default="all",
        validate_choice=False,
    )
    scopes = Checkboxes(_l("It can"), validate_choice=False)

    #: What goes to the registry; set when the fields passed.
    checked_owner: User | None = None
    checked_networks: str = ""
    checked_scope: str = ""

    def prepare(self, tenant_id: int, catalogue: Mapping[str, Scope]) -> None:
        """Before anything else: whose members may look after it, and what the tenant lets choose."""
        self._tenant_id = tenant_id
        self._offered = frozenset(catalogue)
        if catalogue:
            self.scopes.choices = [SelectChoice(name, scope.words or name) for name, scope in catalogue.items()]
        else:
            del self.access, self.scopes

    def validate_owner(self, field: Text) -> None:
        self.checked_owner = None
        try:
            self.checked_owner = actions.find_owner(self._tenant_id, field.data)
        except ClientError as error:
            raise ValidationError(str(error)) from error

    def validate_networks(self, field: TextAreaField) -> None:
        try:
            self.checked_networks = rules.check_networks(field.data or "")
        except ClientError as error:
            raise ValidationError(str(error)) from error

    def validate_scopes(self, field: Checkboxes) -> None:
        if self.access.data != "some":
            self.checked_scope = ""
            return
        chosen = field.data or []
        if not chosen:
            raise ValidationError(_("Choose at least one, or let it do everything."))
        if not self._offered.issuperset(chosen):
            raise ValidationError(_("Choose from the list."))
        self.checked_scope, _default = rules.check_scopes(" ".join(chosen), "", self._offered)


class EditForm(DetailsForm, LimitsForm):
    """The details as they are to be; ``seen`` says what they were when the form was shown."""

    seen = HiddenField()


class SecretFields(FlaskForm):
    """A form that sets a secret, which its answer shows once. ``form_id`` is good for one such answer."""

    form_id = FormId()
    secret = Text(_l("Client secret"), default=lambda: rules.generate_secret().text)
    secret_until = Text(
        _l("When does the secret stop? (optional)"),
        description=_l("Empty: never. After that day programs need a new secret; tokens keep working."),
    )

    #: What goes to the registry; set when the secret passed.
    checked_secret: NewSecret
    checked_expiry: int | None = None
    #: True: the secret in the field is not the one that was sent.
    secret_replaced = False

    def check_secret_for(self, client_id: str) -> None:
        """Check the secret that is to belong to ``client_id``. Raises ValidationError."""
        try:
            self.checked_secret = rules.check_secret(self.secret.data, client_id)
        except ClientError as error:
            raise ValidationError(str(error)) from error

    def validate_secret_until(self, field: Text) -> None:
        now = int(datetime.now(UTC).timestamp())
        self.checked_expiry = end_of_day(field.data, now, now + rules.LONGEST_LIFETIME) if field.data else None

    def hide_typed_secret(self) -> None:
        """Before the form is shown again: put a random secret where a typed or a refused one stood."""
        typed = bool(self.secret.data) and not credentials.is_generated_secret(self.secret.data)
        if typed or not self.secret.data or self.secret.errors:
            self.offer_new_secret()
        self.secret_replaced = typed

    def offer_new_secret(self) -> None:
        self.secret.data = rules.generate_secret().text


class CreateClientForm(DetailsForm, LimitsForm, SecretFields):
    """Random ID and secret, both editable."""

    def validate_secret(self, _field: Text) -> None:
        self.check_secret_for(self.client_id.data)


class ChangeSecretForm(SecretFields):
    """A new secret, and what becomes of the old one."""

    overlap = RadioField(
        _l("When should the old secret stop?"),
        choices=OVERLAP_CHOICES,
        default="24h",
        validate_choice=False,
    )
    revoke_tokens = BooleanField(_l("Also revoke all tokens"))

    def __init__(self, client_id: str) -> None:
        super().__init__()
        self._client_id = client_id
        self.secret.label.text = _("New secret")
        self.secret_until.label.text = _("When does the new secret stop? (optional)")

    def validate_secret(self, _field: Text) -> None:
        self.check_secret_for(self._client_id)

    def validate_overlap(self, field: RadioField) -> None:
        if field.data not in registry.OVERLAPS:
            raise ValidationError(_("Choose when the old secret stops."))


class GenerateTokenForm(FlaskForm):
    """A token's name comes first: whoever revokes it later must know where it is used."""

    form_id = FormId()
    name = Text(_l("Name"), description=_l("So you know later where it is used. For example: Finance report."))
    lasts = RadioField(_l("Lasts"), validate_choice=False)
    until = Text(_l("Until"))

    #: Epoch seconds; set when the choice passed.
    expires_at: int

    def __init__(self, choices: list[SelectChoice], now: int, most: int, **chosen: str) -> None:
        super().__init__(data={"lasts": choices[0].value, **chosen})
        self._now, self._most = now, most
        self.lasts.choices = choices

    def validate_name(self, field: Text) -> None:
        try:
            rules.check_name(field.data)
        except ClientError as error:
            raise ValidationError(str(error)) from error

    def validate_lasts(self, field: RadioField) -> None:
        if field.data not in {option.data for option in field}:
            raise ValidationError(_("Choose how long the token lasts."))
        if field.data != UNTIL:
            self.expires_at = self._now + int(field.data)

    def validate_until(self, field: Text) -> None:
        # A date beside another choice is one that the person thought better of.
        if self.lasts.data == UNTIL:
            self.expires_at = end_of_day(field.data, self._now, self._now + self._most)


class DeleteClientForm(FlaskForm):
    """Typing the name is the confirmation."""

    name = Text(_l("Type the name of the client"))

    def __init__(self, client_name: str) -> None:
        super().__init__()
        self._client_name = client_name

    def validate_name(self, field: Text) -> None:
        if " ".join(field.data.split()) != self._client_name:
            raise ValidationError(_("Type the name as it is written: %(name)s", name=self._client_name))


class ConfirmForm(FlaskForm):
    """Nothing but the CSRF token: the button is the whole input."""


#: What the registry calls otherwise than the forms.
_FIELDS = {"expires_at": "secret_until", "scope": "scopes", "default_scope": "scopes"}


def attach(form: Any, error: ClientError) -> None:
    """Show what the registry refused beside the field that it is about."""
    field = form[_FIELDS.get(error.field, error.field)]
    field.errors = [*field.errors, str(error)]

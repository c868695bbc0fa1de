"""The forms of the client manager. What a client may be called is decided in app/clients/rules.py."""

from __future__ import annotations

from typing import Any

from flask_wtf import FlaskForm
from wtforms import BooleanField, HiddenField, RadioField, StringField, TextAreaField
from wtforms.fields import SelectChoice  # type: ignore[attr-defined]
from wtforms.validators import ValidationError

from app import credentials
from app.client_manager import sent_forms
from app.clients import registry, rules
from app.clients.rules import ClientError, NewSecret

DESCRIPTION_MAX_LENGTH = 500

#: The values are the keys of registry.OVERLAPS.
OVERLAP_CHOICES = [
    SelectChoice("24h", "In 24 hours"),
    SelectChoice("7d", "In 7 days"),
    SelectChoice("1h", "In 1 hour"),
    SelectChoice("now", "Now, because it leaked"),
]


def tidy(text: str | None) -> str:
    """``text`` as a person meant it: without the spaces and line breaks that pasting adds at its ends."""
    return (text or "").strip()


class Text(StringField):
    """One line of text, tidied; empty if nothing was sent."""

    data: str

    def __init__(self, label: str, **options: Any) -> None:
        super().__init__(label, filters=[tidy], **options)


class FormId(HiddenField):
    """What makes a form one of a kind, see app/client_manager/sent_forms.py."""

    data: str

    def __init__(self, **options: Any) -> None:
        super().__init__(filters=[tidy], default=sent_forms.new_form_id, **options)


class DetailsForm(FlaskForm):
    """What people read of a client, and the ID by which programs name it."""

    name = Text("Name", description="You and your team see this.")
    description = TextAreaField("What is it for? (optional)", description="Helps whoever finds it next year.")
    client_id = Text("Client ID", default=credentials.new_client_id)

    def validate_name(self, field: Text) -> None:
        try:
            rules.check_name(field.data)
        except ClientError as error:
            raise ValidationError(str(error)) from error

    def validate_description(self, field: TextAreaField) -> None:
        text = " ".join((field.data or "").split())
        if len(text) > DESCRIPTION_MAX_LENGTH:
            raise ValidationError(f"Use {DESCRIPTION_MAX_LENGTH} characters or fewer.")
        if not text.isprintable():
            raise ValidationError("The description holds a character that cannot be shown. Type it anew.")

    def validate_client_id(self, field: Text) -> None:
        try:
            rules.check_client_id(field.data)
        except ClientError as error:
            raise ValidationError(str(error)) from error


class EditForm(DetailsForm):
    """The details as they are to be; ``seen`` says what they were when the form was shown."""

    seen = HiddenField()


class SecretFields(FlaskForm):
    """A form that sets a secret, which its answer shows once. ``form_id`` is good for one such answer."""

    form_id = FormId()
    secret = Text("Client secret", default=lambda: rules.generate_secret().text)

    #: What goes to the registry; set when the secret passed.
    checked_secret: NewSecret
    #: True: the secret in the field is not the one that was sent.
    secret_replaced = False

    def check_secret_for(self, client_id: str) -> None:
        """Check the secret that is to belong to ``client_id``. Raises ValidationError."""
        try:
            self.checked_secret = rules.check_secret(self.secret.data, client_id)
        except ClientError as error:
            raise ValidationError(str(error)) from error

    def hide_typed_secret(self) -> None:
        """Before the form is shown again: put a random secret where a typed or a refused one stood."""
        typed = bool(self.secret.data) and not credentials.is_generated_secret(self.secret.data)
        if typed or not self.secret.data or self.secret.errors:
            self.offer_new_secret()
        self.secret_replaced = typed

    def offer_new_secret(self) -> None:
        self.secret.data = rules.generate_secret().text


class CreateClientForm(DetailsForm, SecretFields):
    """Random ID and secret, both editable."""

    def validate_secret(self, _field: Text) -> None:
        self.check_secret_for(self.client_id.data)


class ChangeSecretForm(SecretFields):
    """A new secret, and what becomes of the old one."""

    overlap = RadioField(
        "When should the old secret stop?",
        choices=OVERLAP_CHOICES,
        default="24h",
        validate_choice=False,
    )
    revoke_tokens = BooleanField("Also revoke all tokens")

    def __init__(self, client_id: str) -> None:
        super().__init__()
        self._client_id = client_id
        self.secret.label.text = "New secret"

    def validate_secret(self, _field: Text) -> None:
        self.check_secret_for(self._client_id)

    def validate_overlap(self, field: RadioField) -> None:
        if field.data not in registry.OVERLAPS:
            raise ValidationError("Choose when the old secret stops.")


class GenerateTokenForm(FlaskForm):
    """A token's name comes first: whoever revokes it later must know where it is used."""

    form_id = FormId()
    name = Text("Name", description="So you know later where it is used. For example: Finance report.")
    lasts = RadioField("Lasts", validate_choice=False)

    def __init__(self, choices: list[SelectChoice]) -> None:
        super().__init__(data={"lasts": choices[0].value})
        self.lasts.choices = choices

    def validate_name(self, field: Text) -> None:
        try:
            rules.check_name(field.data)
        except ClientError as error:
            raise ValidationError(str(error)) from error

    def validate_lasts(self, field: RadioField) -> None:
        if field.data not in {option.data for option in field}:
            raise ValidationError("Choose how long the token lasts.")


class DeleteClientForm(FlaskForm):
    """Typing the name is the confirmation."""

    name = Text("Type the name of the client")

    def __init__(self, client_name: str) -> None:
        super().__init__()
        self._client_name = client_name

    def validate_name(self, field: Text) -> None:
        if " ".join(field.data.split()) != self._client_name:
            raise ValidationError(f"Type the name as it is written: {self._client_name}")


class ConfirmForm(FlaskForm):
    """Nothing but the CSRF token: the button is the whole input."""


def attach(form: Any, error: ClientError) -> None:
    """Show what the registry refused beside the field that it is about."""
    field = form[error.field]
    field.errors = [*field.errors, str(error)]

"""Why requests of a client failed, and what to do, as admins read it: for every reason in docs/operations.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app.languages import gettext as _
from app.languages import lazy_gettext as _l
from app.usage.models import Problem


@dataclass(frozen=True, slots=True)
class Words:
    """What happened, and what to do."""

    cause: str
    advice: str


_NEW_TOKEN = _l("Generate a new token here, and put it where the program has the old one.")
_TURN_ON = _l("Turn the client on, if it should work. If it should not, tell whoever runs the program.")
_SUPPORT = _l("Send whoever maintains the program the request ID. It sends something that we cannot use.")
_KEYS = _l("Compare the program’s key with the keys of the client. Support changes those.")
_CLOCK = _l("Set the clock of the machine that the program runs on, and let it sign a new assertion for each request.")

_WORDS: dict[str, tuple[Any, Any]] = {
    "secret_mismatch": (
        _l("Wrong secret"),
        _l("Put the right secret into the program. Nobody has it any more? Change the secret here."),
    ),
    "secret_stopped": (
        _l("Old secret, which has stopped"),
        _l("The secret was changed, and the program still sends the old one. Put the new secret into it."),
    ),
    "secret_expired": (
        _l("The secret has expired"),
        _l("Change the secret here, and put the new one into the program."),
    ),
    "client_disabled": (_l("The client was turned off"), _TURN_ON),
    "method_not_allowed": (
        _l("Sent no secret, or proved itself in a way that this client does not have"),
        _l("Let the program send its client ID and secret in the form, or in a Basic header: one of the two."),
    ),
    "no_credentials": (
        _l("Sent no client ID, or a header that we cannot read"),
        _l("Let the program send its client ID and secret in the form, or in a Basic header: one of the two."),
    ),
    "client_unknown": (_l("Unknown client ID"), _l("Compare the client ID in the program with the one on this page.")),
    "assertion_claims": (
        _l("An assertion that is not meant for us"),
        _l("The assertion must name the client as iss and sub, our token address as aud, and a jti of its own."),
    ),
    "assertion_expired": (_l("An assertion that is too old, or from the future"), _CLOCK),
    "assertion_used": (_l("An assertion that was used before"), _CLOCK),
    "key_unknown": (_l("Signed with a key that we do not have"), _KEYS),
    "keys_unavailable": (
        _l("We could not read the client’s keys"),
        _l("The address of its keys did not answer with a key set. Whoever runs it has to look."),
    ),
    "signature_mismatch": (_l("The signature does not fit the key"), _KEYS),
    "too_many_attempts": (
        _l("Too many tries with a wrong secret"),
        _l("Stop the program, put the right secret into it, and start it after a minute."),
    ),
    "address_refused": (
        _l("Came from a network that is not allowed"),
        _l("If it is yours, add it under “Only from these networks” of this client. If not, change the secret."),
    ),
    "token_expired": (_l("Token expired"), _NEW_TOKEN),
    "token_revoked": (
        _l("Token was revoked"),
        _l("Somebody revoked it, see the activity. If the program should go on, generate a new token and put it in."),
    ),
    "client_revoked": (
        _l("Token was revoked with all others, or the client was turned off"),
        _l("See the activity. If the program should go on, generate a new token and put it in."),
    ),
    "token_unknown": (
        _l("A token that we do not know"),
        _l("It may be of another organisation, or long over. Generate a new token and put it in."),
    ),
    "tenant_changed": (_l("The organisation was suspended since the token was made"), _NEW_TOKEN),
    "user_changed": (
        _l("The person behind the token was turned off, or has a new password"),
        _l("The person signs in to the app again."),
    ),
    "consent_withdrawn": (_l("The person removed the app"), _l("The person signs in to the app and allows it again.")),
    "token_for_another_resource": (
        _l("The token is for another address"),
        _l("Let the program ask for a token for this address, or send it where the token is for."),
    ),
    "insufficient_scope": (
        _l("The token may not do that"),
        _l("Let the client do more under Edit, then generate a new token: an old one keeps what it has."),
    ),
    "user_required": (
        _l("The token acts for nobody, and the call is for people"),
        _l("Let people sign in to an app, and let it send the token that it gets for them."),
    ),
    "may_not_manage": (
        _l("Tried to manage API clients, which it may not"),
        _l("If it should, allow it under Danger on this page, then let the program ask for a new token."),
    ),
    "unauthorized_client": (
        _l("Asked for a token in a way that an API client may not"),
        _l("Let the program send grant_type=client_credentials. To act for a person, it has to be an app."),
    ),
    "unsupported_grant_type": (
        _l("Asked for a token in a way that we do not know"),
        _l("Let the program send grant_type=client_credentials."),
    ),
    "invalid_scope": (
        _l("Asked for more than it may do"),
        _l("Let the program ask for less, or let the client do more under Edit."),
    ),
    "invalid_target": (
        _l("Asked for a token for an address that we do not know"),
        _l("Let the program send your own address as resource, or none."),
    ),
    "invalid_request": (_l("A request that we cannot read"), _SUPPORT),
    "invalid_grant": (
        _l("Sent a code or a token that is used, too old, or revoked"),
        _l("Let the program start again from the beginning, once for each code."),
    ),
    "unsupported_response_type": (
        _l("Asked for something else than a code"),
        _l("Let the app send response_type=code."),
    ),
    "request_not_supported": (
        _l("Sent its request as a signed object"),
        _l("Let the app send plain parameters, or push them first."),
    ),
    "request_uri_not_supported": (
        _l("Sent a request_uri that is not ours"),
        _l("Let the app push its request first, and use the request_uri that comes back."),
    ),
    "redirect_uri": (_l("Sent a return address that is not on its list"), _SUPPORT),
    "authorization_pending": (_l("Waits for a person"), _l("Nothing to do: the person has not decided yet.")),
    "slow_down": (_l("Asked too often"), _l("Let the program wait longer between two questions.")),
    "access_denied": (_l("The person said no"), _l("Nothing to do, unless it was a mistake: then start again.")),
    "expired_token": (_l("The person did not decide in time"), _l("Start again.")),
    "more": (
        _l("More of different kinds"),
        _l("There were too many to keep each of them. Look at those above first."),
    ),
}


def words_of(problem: Problem) -> Words:
    """What happened, with what it was about, and what to do; one without words here keeps its name."""
    cause, advice = _WORDS.get(problem.kind, (problem.kind, _SUPPORT))
    if problem.detail:
        cause = _("%(cause)s: “%(what)s”", cause=cause, what=problem.detail)
    return Words(str(cause), str(advice))


def known_kinds() -> frozenset[str]:
    """Every reason that has words."""
    return frozenset(_WORDS)

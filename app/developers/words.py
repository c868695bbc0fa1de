"""What each error means, and what to do: the rows that ``error_uri`` leads to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app.languages import lazy_gettext as _l
from app.oauth.error_uris import NO_TOKEN


@dataclass(frozen=True, slots=True)
class ErrorWords:
    """One row. The texts are read in the language of whoever asks."""

    status: str
    happened: Any
    to_do: Any
    #: Other names that lead here.
    also: tuple[str, ...] = ()


ERRORS: dict[str, ErrorWords] = {
    NO_TOKEN: ErrorWords(
        "401",
        _l("The call carried no token."),
        _l("Send the header Authorization: Bearer, a space, and the token."),
    ),
    "invalid_client": ErrorWords(
        "401",
        _l("The client ID is not known here, the secret is wrong, has stopped or has expired, or the call came from "
           "an address that the client may not use."),
        _l("Compare the client ID and the address of the server. Ask an admin to look at the client’s recent problems; "
           "they say which it was."),
    ),
    "invalid_grant": ErrorWords(
        "400",
        _l("The code or the refresh token is used up, too old, or another app’s; or the redirect URI or the "
           "code_verifier is not the one it began with."),
        _l("Use a code once, within its minute, with the values of the request that asked for it. Start again."),
    ),
    "invalid_request": ErrorWords(
        "400",
        _l("A parameter is missing, comes twice, or cannot be read."),
        _l("Read error_description. Send form fields in the body, not JSON and not in the address."),
    ),
    "invalid_token": ErrorWords(
        "401",
        _l("The token is expired, revoked, or not known at this address."),
        _l("Get a new one. Check that it is a token of this organisation, and that all of it was copied."),
    ),
    "insufficient_scope": ErrorWords(
        "403",
        _l("The token is good, but does not allow this."),
        _l("Ask for a token with the scope that the answer names."),
    ),
    "invalid_scope": ErrorWords(
        "400",
        _l("A scope is not known here, or the client may not have it."),
        _l("Leave scope out, or ask only for names that the metadata lists and an admin gave the client."),
    ),
    "invalid_target": ErrorWords(
        "400",
        _l("The resource is not known here, or was not granted."),
        _l("Leave resource out, or send an address that begins with that of this organisation."),
    ),
    "unauthorized_client": ErrorWords(
        "400",
        _l("This client may not use this way to get a token, or it is turned off."),
        _l("An API client asks with client_credentials, an app with a code. Ask an admin whether it is on."),
    ),
    "unsupported_grant_type": ErrorWords(
        "400",
        _l("The grant_type is none that this server knows."),
        _l("Use one that error_description names."),
    ),
    "unsupported_response_type": ErrorWords(
        "303",
        _l("The response_type is none that this server knows."),
        _l("Use response_type=code. The implicit way, token, is not offered."),
    ),
    "unsupported_token_type": ErrorWords(
        "400",
        _l("This kind of token cannot be revoked."),
        _l("Send an access token or a refresh token."),
    ),
    "request_not_supported": ErrorWords(
        "303",
        _l("The authorization request came as a signed object."),
        _l("Send plain parameters, or push them first."),
    ),
    "request_uri_not_supported": ErrorWords(
        "303",
        _l("The request_uri is not one that this server gave out."),
        _l("Push the request first, and use the request_uri that comes back."),
    ),
    "access_denied": ErrorWords(
        "303, 400, 403",
        _l("The person said no, or the organisation is closed for now."),
        _l("Tell the person that nothing was connected, and let them try again."),
    ),
    "login_required": ErrorWords(
        "303",
        _l("You asked with prompt=none, and nobody is signed in."),
        _l("Send the person once more, without prompt=none."),
    ),
    "consent_required": ErrorWords(
        "303",
        _l("You asked with prompt=none, and the person has not allowed this yet."),
        _l("Send the person once more, without prompt=none."),
    ),
    "authorization_pending": ErrorWords(
        "400",
        _l("The person has not decided yet."),
        _l("Wait as many seconds as interval says, and ask again."),
    ),
    "slow_down": ErrorWords(
        "400",
        _l("The device asks too often."),
        _l("Wait 5 seconds longer between two questions from now on."),
    ),
    "expired_token": ErrorWords(
        "400",
        _l("The person took too long; the device code is over."),
        _l("Ask for a new code and show it."),
    ),
    "temporarily_unavailable": ErrorWords(
        "429, 503",
        _l("There were too many tries, or the server cannot answer right now."),
        _l("Wait as many seconds as the header Retry-After says. After many wrong secrets, correct the secret first."),
        also=("429", "503"),
    ),
    "server_error": ErrorWords(
        "500",
        _l("Something broke on our side."),
        _l("Try again. If it stays, tell your admin the Request-Id of the answer."),
    ),
    "not_found": ErrorWords(
        "404",
        _l("There is no such address."),
        _l("Compare it with the addresses on this page."),
    ),
    "method_not_allowed": ErrorWords(
        "405",
        _l("The address does not take this kind of request."),
        _l("Use the method that the header Allow names."),
    ),
    "conflict": ErrorWords(
        "409",
        _l("Somebody else changed the same thing at the same moment."),
        _l("Try again."),
    ),
    "precondition_failed": ErrorWords(
        "412",
        _l("What you change is another one than you read (If-Match)."),
        _l("Read it again, then change it."),
    ),
}  # fmt: skip

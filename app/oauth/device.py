"""The device authorization grant (RFC 8628), on Authlib's endpoint and grant.

Where the person decides is app/consent/device_views.py.
"""

from __future__ import annotations

import logging
from typing import Any, NoReturn
from urllib.parse import urlencode

from authlib.oauth2.rfc6749 import AccessDeniedError, InvalidGrantError, InvalidRequestError, UnauthorizedClientError
from authlib.oauth2.rfc8628 import AuthorizationPendingError, ExpiredTokenError, SlowDownError
from authlib.oauth2.rfc8628 import DeviceAuthorizationEndpoint as AuthlibDeviceAuthorizationEndpoint
from authlib.oauth2.rfc8628 import DeviceCodeGrant as AuthlibDeviceCodeGrant

from app.clients.registered import DEVICE_CODE, RegisteredClient
from app.oauth.requests import ParsedRequest
from app.tokens import devices
from app.tokens.devices import FoundDeviceCode
from keyporter import token_format

log = logging.getLogger(__name__)

#: Refusals of a question that was written down, which the view therefore commits.
NOTED_REFUSALS = (AuthorizationPendingError, SlowDownError)

#: Path of the page where people type the code.
VERIFICATION_PATH = "/device"

_BAD_DEVICE_CODE = (
    "The device code was used before, is not known, or is not this client's. "
    "Start again at the device authorization endpoint."
)


def _require_grant(client: RegisteredClient) -> None:
    if not client.check_grant_type(DEVICE_CODE):
        raise UnauthorizedClientError("This client may not use the device grant.")


class DeviceAuthorizationEndpoint(AuthlibDeviceAuthorizationEndpoint):
    """A device asks for a code that its person can type elsewhere (RFC 8628 section 3.1)."""

    def create_endpoint_response(self, request: ParsedRequest) -> tuple[int, dict[str, object], list[tuple[str, str]]]:
        client = self.authenticate_client(request)
        _require_grant(client)
        scope = self.server.scope_for(client, request.parameters.get("scope"))
        resource = self.server.check_resource(request.parameters.get("resource"))
        self.server.count_unproven(request)
        issued = devices.issue(client, scope=scope, resource=resource, now=request.now)
        user_code = devices.show_user_code(issued.user_code)
        page = self.server.issuer + VERIFICATION_PATH
        answer: dict[str, object] = {
            "device_code": issued.device_code,
            "user_code": user_code,
            "verification_uri": page,
            "verification_uri_complete": f"{page}?{urlencode({'user_code': user_code})}",
            "expires_in": devices.DEVICE_CODE_SECONDS,
            "interval": devices.POLL_SECONDS,
        }
        return 200, answer, [("Content-Type", "application/json")]


class DeviceCodeGrant(AuthlibDeviceCodeGrant):
    """The device asks whether its person has decided (RFC 8628 section 3.4), and gets the token once if so."""

    request: ParsedRequest

    def validate_token_request(self) -> None:
        request = self.request
        device_code = request.parameters.get("device_code")
        if device_code is None:
            raise InvalidRequestError("device_code is missing.")
        client = self.authenticate_token_endpoint_client()
        _require_grant(client)
        found = self.query_device_credential(device_code)
        request.user = self.validate_device_credential(found)
        request.credential = found
        # The scope was decided with the person; one sent here means nothing. The resource may be one of several.
        request.scope = self.server.narrow_scope(client, None, found.scope)
        request.resource = self.server.narrow_resource(request.parameters.get("resource"), found.resource)

    def query_device_credential(self, device_code: str) -> FoundDeviceCode:
        """The client's own device code of that text. Raises InvalidGrantError."""
        client, found = self.request.client, None
        if token_format.is_well_formed(device_code, token_format.DEVICE_CODE):
            found = devices.find(client.tenant_id, client.pk, device_code)
        if found is None:
            raise InvalidGrantError(_BAD_DEVICE_CODE)
        return found

    def validate_device_credential(self, credential: FoundDeviceCode) -> int:
        """The id of the person who allowed it. Raises the error that says why there is no token, or none yet."""
        if credential.spent_at is not None:
            raise InvalidGrantError(_BAD_DEVICE_CODE)
        if credential.expires_at <= self.request.now:
            raise ExpiredTokenError("Nobody decided in time. Start again at the device authorization endpoint.")
        if credential.denied_at is not None:
            raise AccessDeniedError("The person said no.")
        if not credential.is_current:
            log.info("device code refused: no longer current")
            raise InvalidGrantError(_BAD_DEVICE_CODE)
        if credential.user_id is None:
            self._keep_waiting(credential)
        return credential.user_id

    def _keep_waiting(self, credential: FoundDeviceCode) -> NoReturn:
        key = credential.tenant_id, credential.digest
        if devices.note_poll(*key, self.request.now):
            raise AuthorizationPendingError("The person has not decided yet.")
        devices.slow_down(*key, self.request.now)
        raise SlowDownError("The device asked too early. Wait five seconds longer from now on.")

    def generate_token(self, **_: Any) -> dict[str, object]:
        return self.server.make_token(self.request, user_id=self.request.user)  # type: ignore[no-any-return]

    def save_token(self, token: dict[str, object]) -> None:
        request, found = self.request, self.request.credential
        self.server.save_for_user(request, found, token)
        # The view commits both or, on an error, neither, so a lost race leaves no token behind.
        if not devices.spend(found.tenant_id, found.digest, request.now):
            raise InvalidGrantError(_BAD_DEVICE_CODE)

"""Apache with mod_auth_openidc as a resource server: asks the tenant about each token it is shown (RFC 7662)."""

from __future__ import annotations

import contextlib
import http.client
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.deployment.processes import free_port, running
from tests.postgres import skip_or_fail
from tests.server import PATIENCE
from tests.world import ClientHandle

_BINARY = Path("/usr/sbin/apache2")
_MODULES = Path("/usr/lib/apache2/modules")

#: Shows what an application behind Apache would read: REMOTE_USER, and the claims in its environment.
_CONFIGURATION = """
ServerName 127.0.0.1
ServerRoot "{folder}"
DefaultRuntimeDir "{folder}"
PidFile "{folder}/pid"
Listen 127.0.0.1:{port}
{user}
ErrorLog "{folder}/error.log"
{modules}
DocumentRoot "{folder}/site"

OIDCOAuthServerMetadataURL {issuer}/.well-known/oauth-authorization-server
OIDCOAuthClientID {client_id}
OIDCOAuthClientSecret {client_secret}
OIDCOAuthIntrospectionEndpointAuth {method}
OIDCOAuthRemoteUserClaim sub
OIDCCryptoPassphrase only-for-the-cache-of-this-process

<Location "/reports">
    AuthType oauth20
    Require valid-user
    # Ask each time: without it a token is good until it ends, revoked or not.
    OIDCOAuthTokenIntrospectionInterval -1
    Header set X-Remote-User "expr=%{{REMOTE_USER}}"
    Header set X-Client "%{{OIDC_CLAIM_client_id}}e"
    Header set X-User "%{{OIDC_CLAIM_username}}e"
</Location>
<Location "/reports/write">
    Require claim scope~reports:write
</Location>
"""
_LOADED = ("mpm_event", "authn_core", "authz_core", "authz_user", "headers", "auth_openidc")


@dataclass(frozen=True)
class Apache:
    port: int
    folder: Path

    def ask(self, path: str, authorization: str | None = None) -> http.client.HTTPResponse:
        """The answer to a GET, read to its end."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        with contextlib.closing(connection):
            headers = {"Authorization": authorization} if authorization is not None else {}
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            response.read()
            return response


@contextlib.contextmanager
def serving_reports(resource_server: ClientHandle, method: str = "client_secret_basic") -> Iterator[Apache]:
    """Apache in front of /reports, which is known to the tenant as ``resource_server``."""
    if not _BINARY.exists() or not (_MODULES / "mod_auth_openidc.so").exists():
        skip_or_fail("no Apache with mod_auth_openidc (apt-get install apache2 libapache2-mod-auth-openidc)")
    with tempfile.TemporaryDirectory(prefix="keyporter-apache-") as name:
        folder, port = Path(name), free_port()
        # Apache started by root reads its files as somebody else.
        folder.chmod(0o755)
        for path in ("reports/index", "reports/write/index"):
            page = folder / "site" / path
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text("42\n", encoding="utf-8")
        configuration = folder / "apache2.conf"
        configuration.write_text(_configuration(folder, port, resource_server, method), encoding="utf-8")
        command = [str(_BINARY), "-f", str(configuration), "-D", "FOREGROUND"]
        environment = {"PATH": os.environ["PATH"], "LANG": "C"}
        with running(command, port=port, log=folder / "log", cwd=folder, env=environment):
            yield Apache(port, folder)


def _configuration(folder: Path, port: int, resource_server: ClientHandle, method: str) -> str:
    return _CONFIGURATION.format(
        folder=folder,
        port=port,
        user="User www-data\nGroup www-data" if os.geteuid() == 0 else "",
        modules="\n".join(f"LoadModule {name}_module {_MODULES}/mod_{name}.so" for name in _LOADED),
        issuer=resource_server.tenant.url,
        client_id=resource_server.client_id,
        client_secret=resource_server.secret,
        method=method,
    )

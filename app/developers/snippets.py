"""The pieces of code that only the developers' page has: pure functions from text to text.

Complete as pasted. A secret, a code or a token is never in one: it is read from
the environment. What is put into a string of a language is escaped by that language's rules.
"""

from __future__ import annotations

import json
import shlex
from urllib.parse import urlencode


def powershell(base_url: str, client_id: str) -> str:
    return f"""\
$answer = Invoke-RestMethod -Method Post -Uri {_ps(f"{base_url}/oauth2/token")} -Body @{{
    grant_type    = 'client_credentials'
    client_id     = {_ps(client_id)}
    client_secret = $env:CLIENT_SECRET
}}
$token = $answer.access_token"""


def csharp(base_url: str, client_id: str) -> str:
    return f"""\
using System;
using System.Collections.Generic;
using System.Net.Http;
using System.Text.Json;

using var http = new HttpClient {{ Timeout = TimeSpan.FromSeconds(10) }};
using var answer = await http.PostAsync({json.dumps(f"{base_url}/oauth2/token")},
    new FormUrlEncodedContent(new Dictionary<string, string>
    {{
        ["grant_type"] = "client_credentials",
        ["client_id"] = {json.dumps(client_id)},
        ["client_secret"] = Environment.GetEnvironmentVariable("CLIENT_SECRET")!,
    }}));
answer.EnsureSuccessStatusCode();
using var json = JsonDocument.Parse(await answer.Content.ReadAsStringAsync());
var token = json.RootElement.GetProperty("access_token").GetString();"""


def check_token(base_url: str) -> str:
    """Asks what the token in the environment is."""
    return f'curl -s {shlex.quote(f"{base_url}/oauth2/verify")} -H "Authorization: Bearer $ACCESS_TOKEN"'


def authorize_address(base_url: str, client_id: str, redirect_uri: str, challenge: str) -> str:
    """Where the app sends the person (RFC 6749 section 4.1.1, RFC 7636 section 4.3)."""
    parameters = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "state": "STATE",
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    return f"{base_url}/oauth2/authorize?{urlencode(parameters)}"


def exchange_code(base_url: str, client_id: str, redirect_uri: str, verifier: str, *, has_secret: bool) -> str:
    """Buys a token with the code in the environment."""
    lines = [
        f"curl -s {shlex.quote(f'{base_url}/oauth2/token')}",
        "-d grant_type=authorization_code",
        f"-d {shlex.quote(f'client_id={client_id}')}",
        *(['-d client_secret="$CLIENT_SECRET"'] if has_secret else []),
        f"--data-urlencode {shlex.quote(f'redirect_uri={redirect_uri}')}",
        '-d code="$CODE"',
        f"-d code_verifier={verifier}",
    ]
    return " \\\n  ".join(lines)


def pkce_python(base_url: str, client_id: str, redirect_uri: str) -> str:
    return f"""\
import base64
import hashlib
import secrets
from urllib.parse import urlencode

verifier = secrets.token_urlsafe(32)
state = secrets.token_urlsafe(16)
digest = hashlib.sha256(verifier.encode()).digest()
challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
address = {json.dumps(f"{base_url}/oauth2/authorize?")} + urlencode({{
    "response_type": "code",
    "client_id": {json.dumps(client_id)},
    "redirect_uri": {json.dumps(redirect_uri)},
    "state": state,
    "code_challenge": challenge,
    "code_challenge_method": "S256",
}})
# Keep verifier and state until the person comes back, then open this address:
print(address)"""


def pkce_javascript(base_url: str, client_id: str, redirect_uri: str) -> str:
    return f"""\
const toText = (bytes) =>
  btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const verifier = toText(crypto.getRandomValues(new Uint8Array(32)));
const state = toText(crypto.getRandomValues(new Uint8Array(16)));
const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
const address = {json.dumps(f"{base_url}/oauth2/authorize?")} + new URLSearchParams({{
  response_type: "code",
  client_id: {json.dumps(client_id)},
  redirect_uri: {json.dumps(redirect_uri)},
  state,
  code_challenge: toText(new Uint8Array(digest)),
  code_challenge_method: "S256",
}});
// Keep verifier and state until the person comes back, then open this address:
console.log(address);"""


def _ps(text: str) -> str:
    """``text`` as a literal of PowerShell, in which nothing is read but the quote."""
    return "'" + text.replace("'", "''") + "'"

"""The pieces of code that only the developers' page has: pure functions from text to text.

Complete as pasted. A secret, a code or a token is never in one: it is read from
the environment. What is put into a string of a language is escaped by that language's rules.
"""

from __future__ import annotations

import json
import shlex
from html import escape
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


def find_organisation_python(base_url: str) -> str:
    """From what a person typed to the metadata of their organisation (RFC 8414 section 3)."""
    return f"""\
import requests


def find_organisation(typed):
    host = typed.strip().rpartition("://")[2].partition("/")[0].lower()
    issuer = {json.dumps(_scheme(base_url))} + host
    address = issuer + "/.well-known/oauth-authorization-server"
    answer = requests.get(address, timeout=10, allow_redirects=False)
    if answer.status_code != 200 or answer.json()["issuer"] != issuer:
        raise LookupError(f"There is no organisation at {{host}}.")
    return answer.json()


organisation = find_organisation({json.dumps(_host(base_url))})
print(organisation["authorization_endpoint"], organisation["token_endpoint"])"""


def find_organisation_javascript(base_url: str) -> str:
    return f"""\
async function findOrganisation(typed) {{
  const host = typed.trim().split("://").pop().split("/")[0].toLowerCase();
  const issuer = {json.dumps(_scheme(base_url))} + host;
  const address = issuer + "/.well-known/oauth-authorization-server";
  const answer = await fetch(address, {{ redirect: "manual" }});
  const metadata = answer.status === 200 ? await answer.json() : {{}};
  if (metadata.issuer !== issuer) throw new Error(`There is no organisation at ${{host}}.`);
  return metadata;
}}

const organisation = await findOrganisation({json.dumps(_host(base_url))});
console.log(organisation.authorization_endpoint, organisation.token_endpoint);"""


def _scheme(base_url: str) -> str:
    return base_url.partition("://")[0] + "://"


def _host(base_url: str) -> str:
    return base_url.partition("://")[2]


def ask_for_device_code(base_url: str, client_id: str, *, has_secret: bool) -> str:
    """What a device sends first (RFC 8628 section 3.1)."""
    lines = [
        f"curl -s {shlex.quote(f'{base_url}/oauth2/device_authorization')}",
        *_client_of_curl(client_id, has_secret),
    ]
    return " \\\n  ".join(lines)


def ask_with_device_code(base_url: str, client_id: str, *, has_secret: bool) -> str:
    """What it sends again and again, with the code in the environment (RFC 8628 section 3.4)."""
    lines = [
        f"curl -s {shlex.quote(f'{base_url}/oauth2/token')}",
        "-d grant_type=urn:ietf:params:oauth:grant-type:device_code",
        *_client_of_curl(client_id, has_secret),
        '-d device_code="$DEVICE_CODE"',
    ]
    return " \\\n  ".join(lines)


def _client_of_curl(client_id: str, has_secret: bool) -> list[str]:
    secret = ['-d client_secret="$CLIENT_SECRET"'] if has_secret else []
    return [f"-d {shlex.quote(f'client_id={client_id}')}", *secret]


def device_python(base_url: str, client_id: str, *, has_secret: bool) -> str:
    """All of it."""
    secret = '\n    "client_secret": os.environ["CLIENT_SECRET"],' if has_secret else ""
    return f"""\
{"import os" + chr(10) if has_secret else ""}import time

import requests

client = {{
    "client_id": {json.dumps(client_id)},{secret}
}}
answer = requests.post({json.dumps(f"{base_url}/oauth2/device_authorization")}, data=client, timeout=10)
answer.raise_for_status()
device = answer.json()
print(f"Open {{device['verification_uri']}} and type {{device['user_code']}}", flush=True)

question = {{
    **client,
    "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
    "device_code": device["device_code"],
}}
wait = device["interval"]
while True:
    time.sleep(wait)
    answer = requests.post({json.dumps(f"{base_url}/oauth2/token")}, data=question, timeout=10)
    if answer.ok:
        break
    error = answer.json()["error"]
    if error == "slow_down":
        wait += 5
    elif error != "authorization_pending":
        raise SystemExit(error)
token = answer.json()["access_token"]"""


def device_javascript(base_url: str, client_id: str, *, has_secret: bool) -> str:
    secret = "\n  client_secret: process.env.CLIENT_SECRET," if has_secret else ""
    return f"""\
const send = (path, fields) =>
  fetch({json.dumps(base_url)} + path, {{ method: "POST", body: new URLSearchParams(fields) }});
const client = {{
  client_id: {json.dumps(client_id)},{secret}
}};
let answer = await send("/oauth2/device_authorization", client);
if (!answer.ok) throw new Error(await answer.text());
const device = await answer.json();
console.log(`Open ${{device.verification_uri}} and type ${{device.user_code}}`);

const question = {{
  ...client,
  grant_type: "urn:ietf:params:oauth:grant-type:device_code",
  device_code: device.device_code,
}};
let wait = device.interval;
while (true) {{
  await new Promise((wake) => setTimeout(wake, wait * 1000));
  answer = await send("/oauth2/token", question);
  if (answer.ok) break;
  const {{ error }} = await answer.json();
  if (error === "slow_down") wait += 5;
  else if (error !== "authorization_pending") throw new Error(error);
}}
const token = (await answer.json()).access_token;"""


def sign_in_button(text: str, brand: str, on_brand: str) -> str:
    """A link that looks like a button in the tenant's colour, on light pages and on dark ones.

    The border is of the text's colour: where the fill is hardly to be told from
    the page, the border is. ``.sign-in-with`` in keyporter.css shows the same.
    """
    return f"""\
<a class="sign-in-with" href="/sign-in">{escape(text)}</a>
<style>
  .sign-in-with {{
    display: inline-flex; align-items: center; justify-content: center; box-sizing: border-box;
    max-width: 100%; min-height: 44px; padding: 8px 20px; border: 2px solid {on_brand}; border-radius: 6px;
    background: {brand}; color: {on_brand}; font: 600 16px/1.25 system-ui, sans-serif;
    text-align: center; text-decoration: none; overflow-wrap: anywhere;
  }}
  .sign-in-with:hover {{ text-decoration: underline; }}
  .sign-in-with:focus-visible {{ outline: 3px solid CanvasText; outline-offset: 3px; }}
</style>"""


def _ps(text: str) -> str:
    """``text`` as a literal of PowerShell, in which nothing is read but the quote."""
    return "'" + text.replace("'", "''") + "'"

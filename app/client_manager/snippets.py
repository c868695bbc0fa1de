"""The pieces of code that the pages offer for copying: pure functions from text to text.

Every one is complete as pasted save for the secret, which is never in it. What
is put into a string of a language is escaped by that language's rules.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from app.languages import ngettext

#: Stands where a program's author puts the secret.
SECRET_PLACEHOLDER = "YOUR_SECRET"

#: An API of the tenant: ours to show where it goes, not ours to serve.
SAMPLE_API_PATH = "api/v1/reports"


@dataclass(frozen=True, slots=True)
class Guide:
    """How a program asks for a token, in five languages."""

    token_url: str
    curl: str
    python: str
    javascript: str
    power_query: str
    raw_http: str
    answer: str
    lifetime_in_words: str


def guide(base_url: str, client_id: str, lifetime: int) -> Guide:
    """The guide for one client of the tenant at ``base_url``; its tokens live ``lifetime`` seconds."""
    return Guide(
        token_url=f"{base_url}/oauth2/token",
        curl=curl(base_url, client_id),
        python=python(base_url, client_id),
        javascript=javascript(base_url, client_id),
        power_query=power_query(base_url, client_id),
        raw_http=raw_http(base_url, client_id),
        answer=answer(lifetime),
        lifetime_in_words=lifetime_in_words(lifetime),
    )


def curl(base_url: str, client_id: str) -> str:
    # Quoted as one word: bash would read ~name after an equals sign as somebody's home folder.
    return "\n".join(
        (
            f"curl -s {shlex.quote(f'{base_url}/oauth2/token')} \\",
            "  -d grant_type=client_credentials \\",
            f"  -d {shlex.quote(f'client_id={client_id}')} \\",
            '  -d client_secret="$CLIENT_SECRET"',
        )
    )


def python(base_url: str, client_id: str) -> str:
    return f"""\
import os

import requests

answer = requests.post(
    {json.dumps(f"{base_url}/oauth2/token")},
    data={{
        "grant_type": "client_credentials",
        "client_id": {json.dumps(client_id)},
        "client_secret": os.environ["CLIENT_SECRET"],
    }},
    timeout=10,
)
answer.raise_for_status()
token = answer.json()["access_token"]"""


def javascript(base_url: str, client_id: str) -> str:
    return f"""\
const answer = await fetch({json.dumps(f"{base_url}/oauth2/token")}, {{
  method: "POST",
  body: new URLSearchParams({{
    grant_type: "client_credentials",
    client_id: {json.dumps(client_id)},
    client_secret: process.env.CLIENT_SECRET,
  }}),
}});
if (!answer.ok) throw new Error(await answer.text());
const token = (await answer.json()).access_token;"""


def power_query(base_url: str, client_id: str) -> str:
    # The address stays fixed and RelativePath varies: the Power BI service refuses to refresh what it cannot
    # tell the host of beforehand.
    return f"""\
let
    Base = {_m(base_url)},
    ClientSecret = {_m(SECRET_PLACEHOLDER)},
    Answer = Json.Document(Web.Contents(Base, [
        RelativePath = "oauth2/token",
        Headers = [#"Content-Type" = "application/x-www-form-urlencoded", Accept = "application/json"],
        Content = Text.ToBinary(Uri.BuildQueryString([
            grant_type = "client_credentials",
            client_id = {_m(client_id)},
            client_secret = ClientSecret]))])),
    Token = Answer[access_token],
    Source = Json.Document(Web.Contents(Base, [
        RelativePath = {_m(SAMPLE_API_PATH)},
        Headers = [Authorization = "Bearer " & Token, Accept = "application/json"]]))
in
    Source"""


def power_query_with_token(base_url: str) -> str:
    """For a token that a person made and pastes."""
    return f"""\
let
    Token = "PASTE TOKEN",
    Source = Json.Document(Web.Contents({_m(base_url)}, [
        RelativePath = {_m(SAMPLE_API_PATH)},
        Headers = [Authorization = "Bearer " & Token, Accept = "application/json"]]))
in
    Source"""


@dataclass(frozen=True, slots=True)
class Use:
    """How a token that a person made is used, in four languages; none of them has it in it."""

    curl: str
    python: str
    javascript: str
    power_query: str


def use_of_token(base_url: str) -> Use:
    """The pieces for a token of the tenant at ``base_url``."""
    address = f"{base_url}/{SAMPLE_API_PATH}"
    curl = f'curl -s {shlex.quote(address)} -H "Authorization: Bearer $ACCESS_TOKEN"'
    python = f"""\
import os

import requests

answer = requests.get(
    {json.dumps(address)},
    headers={{"Authorization": "Bearer " + os.environ["ACCESS_TOKEN"]}},
    timeout=10,
)
answer.raise_for_status()
data = answer.json()"""
    javascript = f"""\
const answer = await fetch({json.dumps(address)}, {{
  headers: {{ Authorization: "Bearer " + process.env.ACCESS_TOKEN }},
}});
if (!answer.ok) throw new Error(await answer.text());
const data = await answer.json();"""
    return Use(curl, python, javascript, power_query_with_token(base_url))


def raw_http(base_url: str, client_id: str) -> str:
    """The seven lines that every program comes down to, with the length of exactly this body."""
    body = urlencode({"grant_type": "client_credentials", "client_id": client_id, "client_secret": SECRET_PLACEHOLDER})
    return "\n".join(
        (
            "POST /oauth2/token HTTP/1.1",
            f"Host: {urlsplit(base_url).netloc}",
            f"Content-Length: {len(body)}",
            "Content-Type: application/x-www-form-urlencoded",
            "Accept: application/json, */*",
            "Cache-Control: no-cache",
            "",
            body,
        )
    )


def answer(lifetime: int) -> str:
    return json.dumps({"access_token": "ACCESS_TOKEN", "token_type": "Bearer", "expires_in": lifetime})


def lifetime_in_words(seconds: int) -> str:
    """``1 year``, ``90 days``, ``1 hour``: the largest unit that says it exactly."""
    if _is_whole(seconds, 31_536_000):
        return ngettext("%(num)s year", "%(num)s years", seconds // 31_536_000)
    if _is_whole(seconds, 86_400):
        return ngettext("%(num)s day", "%(num)s days", seconds // 86_400)
    if _is_whole(seconds, 3600):
        return ngettext("%(num)s hour", "%(num)s hours", seconds // 3600)
    if _is_whole(seconds, 60):
        return ngettext("%(num)s minute", "%(num)s minutes", seconds // 60)
    return ngettext("%(num)s second", "%(num)s seconds", seconds)


def _is_whole(seconds: int, unit: int) -> bool:
    return seconds >= unit and seconds % unit == 0


def verify_curl(base_url: str, token: str) -> str:
    """Tests a token that was just made."""
    # Double quotes, which Windows reads too. A token is letters and digits, so nothing in it needs escaping.
    return f'curl -s {shlex.quote(f"{base_url}/oauth2/verify")} -H "Authorization: Bearer {token}"'


def _m(text: str) -> str:
    """``text`` as a literal of the Power Query formula language, in which #( starts an escape."""
    return '"' + text.replace("#(", "#(#)(").replace('"', '""') + '"'

"""`flask scope ...`"""

from __future__ import annotations

import pytest

from tests.oauth.test_metadata import PATH

ADD = ("scope", "add", "--tenant", "acme")


def test_a_scope_is_offered_with_words_for_people(shell, machine):
    made = shell.json(*ADD, "sites:delete", "--words", "delete  sites", "--danger")
    shell.do(*ADD, "reports")

    assert made == {"name": "sites:delete", "words": "delete sites", "dangerous": True}
    assert shell.json("scope", "list", "--tenant", "acme") == [
        {"name": "reports", "words": "", "dangerous": False},
        made,
    ]
    assert "sites:delete" in shell.do("scope", "list", "--tenant", "acme").stdout
    assert machine.open(PATH).json["scopes_supported"] == ["reports", "sites:delete"]
    assert shell.events("acme") == ["scope.added", "scope.added"]


def test_adding_it_again_changes_what_people_read(shell, tenant):
    shell.do(*ADD, "sites", "--words", "delete sites", "--danger")

    shell.do(*ADD, "sites", "--words", "see sites")

    assert shell.json("scope", "list", "--tenant", "acme") == [
        {"name": "sites", "words": "see sites", "dangerous": False}
    ]
    assert shell.events("acme") == ["scope.added", "scope.changed"]


def test_a_scope_that_is_removed_is_refused_from_then_on(shell, machine, api_client):
    shell.do(*ADD, "reports")
    token = machine.token(api_client, scope="reports")

    shell.do("scope", "remove", "--tenant", "acme", "reports")

    assert machine.request_token(api_client, scope="reports").json["error"] == "invalid_scope"
    assert machine.verify(token).json["scope"] == "reports"
    assert shell.json("scope", "list", "--tenant", "acme") == []
    assert shell.events("acme") == ["scope.added", "scope.removed"]


def test_two_tenants_have_two_catalogues(shell, tenant, other_tenant):
    shell.do(*ADD, "reports", "--words", "ours")
    shell.do("scope", "add", "--tenant", "globex", "reports", "--words", "theirs")

    shell.do("scope", "remove", "--tenant", "acme", "reports")

    assert shell.json("scope", "list", "--tenant", "globex")[0]["words"] == "theirs"
    assert shell.events("globex") == ["scope.added"]


def test_an_unknown_scope_is_not_removed(shell, tenant):
    shell.do(*ADD, "reports")

    line = shell.refusal("scope", "remove", "--tenant", "acme", "report")

    assert line == "No scope 'report' in acme. Did you mean 'reports'?"
    assert shell.events("acme") == ["scope.added"]


@pytest.mark.parametrize(
    "arguments,refusal",
    [
        (("two words",), "Name one scope."),
        (("",), "Name one scope."),
        (('say"hi"',), "Scopes are words of printable ASCII"),
        (("é",), "Scopes are words of printable ASCII"),
        (("reports", "--words", "x" * 201), "The words for people have 200 characters at most."),
        (("reports", "--words", "a\x1bb"), r"'a\x1bb' is not text"),
    ],
)
def test_what_is_no_scope_is_refused(shell, tenant, arguments, refusal):
    assert shell.refusal(*ADD, *arguments).startswith(refusal)
    assert shell.json("scope", "list", "--tenant", "acme") == []


def test_a_tenant_that_is_not_there_has_none(shell, tenant):
    for command in [("add", "reports"), ("list",), ("remove", "reports")]:
        assert shell.refusal("scope", *command, "--tenant", "acmee").startswith("No tenant 'acmee'. Did you mean")

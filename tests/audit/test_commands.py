"""`flask audit ...`"""

from __future__ import annotations


def test_the_newest_events_of_a_tenant_are_listed(shell, tenant, other_tenant):
    shell.do("tenant", "set", "acme", "name", "Acme GmbH")
    shell.do("tenant", "suspend", "globex")

    [event] = shell.json("audit", "list", "--tenant", "acme")

    assert {name: event[name] for name in ("event", "actor_kind", "actor", "target_kind", "target", "note")} == {
        "event": "tenant.changed",
        "actor_kind": "operator",
        "actor": "operator",
        "target_kind": "tenant",
        "target": "acme",
        "note": "name: Acme GmbH",
    }
    assert isinstance(event["at"], int)
    assert "tenant.changed" in shell.do("audit", "list", "--tenant", "acme").stdout


def test_without_a_tenant_the_deployments_own_events_are_listed(shell, tenant):
    assert shell.json("audit", "list") == []

    shell.do("tenant", "delete", "acme", "--yes")

    assert [(event["event"], event["target"]) for event in shell.json("audit", "list")] == [("tenant.deleted", "acme")]


def test_no_more_events_are_listed_than_asked_for(shell, tenant):
    for name in ("A", "B", "C"):
        shell.do("tenant", "set", "acme", "name", name)

    assert len(shell.json("audit", "list", "--tenant", "acme", "--limit", "2")) == 2
    assert shell.run("audit", "list", "--tenant", "acme", "--limit", "0").exit_code == 2


def test_an_unknown_tenant_is_refused(shell, tenant):
    assert shell.refusal("audit", "list", "--tenant", "acmee") == "No tenant 'acmee'. Did you mean 'acme'?"

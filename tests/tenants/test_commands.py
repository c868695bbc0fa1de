"""`flask tenant ...`"""

from __future__ import annotations

import pytest

from tests.pictures import picture

CREATE = ("tenant", "create", "acme", "--name", "Acme Inc", "--host", "acme.example.com")


def test_a_tenant_is_made_with_a_canonical_host_and_aliases(shell):
    made = shell.json(*CREATE, "--host", "Old.Acme.example")

    assert made["slug"] == "acme"
    assert made["name"] == "Acme Inc"
    assert made["host"] == "acme.example.com"
    assert made["issuer"] == "https://acme.example.com"
    assert made["hosts"] == ["acme.example.com", "old.acme.example"]
    assert made["status"] == "active"
    assert shell.events("acme") == ["tenant.created"]


def test_a_tenant_of_this_machine_is_served_on_the_port(shell):
    assert shell.json("tenant", "create", "a", "--name", "A", "--host", "a.localhost")["issuer"] == (
        "http://a.localhost:8000"
    )


def test_tenants_are_listed_and_shown(shell, world):
    world.tenant("globex")
    world.tenant("acme")

    listed = shell.json("tenant", "list")

    assert [(tenant["slug"], tenant["hosts"]) for tenant in listed] == [
        ("acme", ["acme.example"]),
        ("globex", ["globex.example"]),
    ]
    shown = shell.json("tenant", "show", "acme")
    assert shown == listed[0]


def test_without_json_a_person_reads_a_table(shell, world):
    world.tenant("acme", name="Acme Inc")

    table = shell.do("tenant", "list").stdout.splitlines()

    assert table[0].split() == ["slug", "name", "issuer", "status"]
    assert table[1].split() == ["acme", "Acme", "Inc", "https://acme.example", "active"]
    assert "host                acme.example\n" in shell.do("tenant", "show", "acme").stdout


def test_an_empty_list_is_an_empty_array_and_a_word(shell):
    assert shell.json("tenant", "list") == []
    result = shell.do("tenant", "list")
    assert (result.stdout, result.stderr) == ("", "There are none.\n")


@pytest.mark.parametrize(
    "arguments,refusal",
    [
        (("Acme!", "--name", "A", "--host", "a.example"), "'Acme!' cannot be a tenant's short name"),
        (("acme", "--name", " ", "--host", "a.example"), "A name has 1 to 80 characters."),
        (("acme", "--name", "A", "--host", "https://a.example"), "'https://a.example' is not a host name"),
        (("globex", "--name", "A", "--host", "a.example"), "Tenant 'globex' exists already."),
        (("acme", "--name", "A", "--host", "GLOBEX.example"), "Host name 'globex.example' exists already."),
        (("acme", "--name", "A\x1b[31m", "--host", "a.example"), r"'A\x1b[31m' is not text"),
        (("acme", "--name", "A\udce9", "--host", "a.example"), r"'A\udce9' is not text"),
        (("acme", "--name", "A\x00", "--host", "a.example"), r"'A\x00' is not text"),
        (("acme", "--name", "A", "--host", "a.example", "--host", "b\udcff"), r"'b\udcff' is not text"),
    ],
)
def test_a_tenant_that_cannot_be_made_is_refused_in_one_line(shell, world, arguments, refusal):
    world.tenant("globex")

    assert shell.refusal("tenant", "create", *arguments).startswith(refusal)
    assert len(shell.json("tenant", "list")) == 1


def test_an_unknown_tenant_is_refused_with_the_nearest_name(shell, tenant):
    for command in ("show", "suspend", "resume"):
        assert shell.refusal("tenant", command, "acmee") == "No tenant 'acmee'. Did you mean 'acme'?"
    assert shell.refusal("tenant", "set", "acmee", "name", "X") == "No tenant 'acmee'. Did you mean 'acme'?"
    assert shell.refusal("tenant", "delete", "zzz", "--yes") == "No tenant 'zzz'."


@pytest.mark.parametrize(
    "key,value,stored",
    [
        ("name", "Acme  GmbH", "Acme GmbH"),
        ("colour", "#aa00ff", "#AA00FF"),
        ("token_lifetime", "3600", 3600),
        ("token_format", "jwt", "jwt"),
        ("signing_algorithm", "RS256", "RS256"),
        ("token_lifetime_max", "7200", 7200),
        ("scope", "write read", "read write"),
        ("pkce_required", "yes", True),
        ("host", "new.acme.example", "new.acme.example"),
    ],
)
def test_a_setting_is_changed_and_audited(shell, tenant, key, value, stored):
    shell.do("tenant", "set", "acme", key, value)

    assert shell.json("tenant", "show", "acme")[key] == stored
    assert shell.events("acme") == ["tenant.changed"]


def test_a_setting_that_makes_no_sense_is_refused_and_not_audited(shell, tenant):
    assert shell.refusal("tenant", "set", "acme", "colour", "red") == "A colour looks like #1F5FBF."
    assert shell.run("tenant", "set", "acme", "flavour", "sweet").exit_code == 2
    assert shell.events("acme") == []


def test_a_logo_is_read_from_a_file_and_can_be_taken_away(shell, tenant, tmp_path):
    logo = tmp_path / "logo.of-any-name"
    logo.write_bytes(picture())

    shell.do("tenant", "set", "acme", "logo", str(logo))
    shell.do("tenant", "set", "acme", "logo_dark", str(logo))
    shown = shell.json("tenant", "show", "acme")
    assert (shown["has_logo"], shown["has_logo_dark"]) == (True, True)

    shell.do("tenant", "set", "acme", "logo_dark", "")
    assert shell.json("tenant", "show", "acme")["has_logo_dark"] is False
    shell.do("tenant", "set", "acme", "logo", "")
    assert shell.json("tenant", "show", "acme")["has_logo"] is False


def test_without_its_logo_a_tenant_has_no_dark_one(shell, tenant, tmp_path):
    logo = tmp_path / "logo.png"
    logo.write_bytes(picture())

    assert "Before logo_dark, set logo." in shell.refusal("tenant", "set", "acme", "logo_dark", str(logo))
    shell.do("tenant", "set", "acme", "logo", str(logo))
    shell.do("tenant", "set", "acme", "logo_dark", str(logo))
    shell.do("tenant", "set", "acme", "logo", "")

    shown = shell.json("tenant", "show", "acme")
    assert (shown["has_logo"], shown["has_logo_dark"]) == (False, False)


def test_a_file_that_is_no_logo_is_refused(shell, tenant, tmp_path):
    huge, drawing = tmp_path / "huge.png", tmp_path / "drawing.png"
    huge.write_bytes(picture() + b"\0" * 1_000_000)
    drawing.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")

    assert "at most 1 MB" in shell.refusal("tenant", "set", "acme", "logo", str(huge))
    assert "SVG and others are not taken" in shell.refusal("tenant", "set", "acme", "logo", str(drawing))
    assert "cannot be read" in shell.refusal("tenant", "set", "acme", "logo", str(tmp_path / "none.png"))
    assert shell.json("tenant", "show", "acme")["has_logo"] is False


def test_suspending_ends_tokens_for_good(shell, tenant, api_client, machine):
    token = machine.token(api_client)

    shell.do("tenant", "suspend", "acme")
    assert machine.verify(token).status_code == 403
    shell.do("tenant", "resume", "acme")

    assert not machine.works(token)
    assert machine.works(machine.token(api_client))
    assert shell.events("acme") == ["tenant.resumed", "tenant.suspended"]


def test_suspending_twice_is_done_once(shell, tenant):
    shell.do("tenant", "suspend", "acme")

    assert shell.do("tenant", "suspend", "acme").stderr == "Tenant acme is suspended already.\n"
    shell.do("tenant", "resume", "acme")
    assert shell.do("tenant", "resume", "acme").stderr == "Tenant acme is active already.\n"
    assert shell.events("acme") == ["tenant.resumed", "tenant.suspended"]


def test_a_tenant_is_deleted_with_what_it_has_and_nothing_else(shell, world, tenant, other_tenant, api_client):
    world.admin(tenant)
    world.client(other_tenant)

    shell.do("tenant", "delete", "acme", "--yes")

    assert [left["slug"] for left in shell.json("tenant", "list")] == ["globex"]
    assert len(shell.json("client", "list", "--tenant", "globex")) == 1
    assert shell.events() == ["tenant.deleted"]


@pytest.mark.parametrize("answer", ["n\n", "", "\n"])
def test_deleting_asks_first(shell, tenant, answer):
    result = shell.run("tenant", "delete", "acme", stdin=answer)

    assert result.exit_code == 1
    assert result.stdout == ""
    assert "Delete tenant acme" in result.stderr
    assert "Nothing was deleted." in result.stderr
    assert len(shell.json("tenant", "list")) == 1


def test_deleting_goes_on_after_a_yes(shell, tenant):
    shell.do("tenant", "delete", "acme", stdin="y\n")

    assert shell.json("tenant", "list") == []


def test_a_new_tenant_gets_the_apps_that_are_on_for_all(shell, world):
    app = world.oauth_app(everywhere=True)

    shell.do(*CREATE)

    assert shell.json("app", "show", app.client_id)["tenants"] == ["acme"]

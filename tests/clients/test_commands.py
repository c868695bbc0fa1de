"""`flask client ...`"""

from __future__ import annotations

import pytest

from tests.world import ClientHandle

CREATE = ("client", "create", "--tenant", "acme", "--name", "Power BI")


def handle(tenant, client_id: str, secret: str) -> ClientHandle:
    return ClientHandle(tenant, 0, client_id, secret)


def test_a_client_is_made_with_a_random_id_and_secret(shell, tenant, machine):
    made = shell.json(*CREATE)

    secret = made.pop("client_secret")
    assert machine.works(machine.token(handle(tenant, made["client_id"], secret)))
    assert made["name"] == "Power BI"
    assert shell.json("client", "list", "--tenant", "acme") == [made]
    assert shell.json("client", "show", made["client_id"], "--tenant", "acme") == made
    assert shell.events("acme") == ["client.created"]
    assert secret not in shell.audit_log()


def test_an_old_client_moves_in_with_its_id_and_its_short_secret(shell, tenant, machine):
    result = shell.do(*CREATE, "--client-id", "MY_CLIENT", "--secret-stdin", stdin="0ldS3cret\n")

    assert "Warning: this secret has fewer than 20 characters." in result.stderr
    assert "0ldS3cret" not in result.output
    assert machine.works(machine.token(handle(tenant, "MY_CLIENT", "0ldS3cret")))
    assert "0ldS3cret" not in shell.audit_log()


def test_a_program_reads_the_same_members_however_the_client_was_made(shell, tenant):
    made = shell.json(*CREATE, "--secret-stdin", stdin="a-long-secret-that-somebody-typed")

    assert made["client_secret"] == "a-long-secret-that-somebody-typed"
    assert list(made)[:2] == ["client_id", "client_secret"]


def test_a_long_secret_needs_no_warning(shell, tenant):
    result = shell.do(*CREATE, "--secret-stdin", stdin="a-long-secret-that-somebody-typed")

    assert result.stderr == ""


@pytest.mark.parametrize(
    "secret, warning",
    [
        ("MY_SECRET", "Warning: this secret has fewer than 20 characters."),
        ("abcabcabcabcabcabcabc", "Warning: this secret is easy to guess."),
    ],
)
def test_an_old_client_is_moved_in_with_its_weak_secret_and_a_warning(shell, machine, tenant, secret, warning):
    result = shell.run(*CREATE, "--client-id", "MY_CLIENT", "--secret-stdin", stdin=secret)

    assert result.exit_code == 0
    assert warning in result.stderr
    answer = machine.post_token(f"grant_type=client_credentials&client_id=MY_CLIENT&client_secret={secret}")
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "options,stdin,refusal",
    [
        (("--client-id", "a b c"), None, "Use letters, digits, and . _ ~ - only."),
        (("--client-id", "app_mine"), None, "IDs that start with app_ are kept for apps."),
        (("--client-id", "taken"), None, "This ID is taken in your organisation."),
        (("--secret-stdin",), "seven77", "Use 8 characters or more. Or leave out --secret-stdin"),
        (("--secret-stdin",), "", "There is no client secret on standard input."),
        (("--client-id", "\udce9"), None, r"'\udce9' is not text"),
    ],
)
def test_a_client_that_cannot_be_made_is_refused(shell, world, tenant, options, stdin, refusal):
    world.client(tenant, "taken")

    assert shell.refusal(*CREATE, *options, stdin=stdin).startswith(refusal)
    assert len(shell.json("client", "list", "--tenant", "acme")) == 1


def test_two_tenants_may_choose_the_same_id(shell, tenant, other_tenant):
    for slug in ("acme", "globex"):
        shell.do("client", "create", "--tenant", slug, "--name", "A", "--client-id", "same")

    shell.do("client", "delete", "same", "--tenant", "acme", "--yes")

    assert shell.json("client", "list", "--tenant", "acme") == []
    assert len(shell.json("client", "list", "--tenant", "globex")) == 1


@pytest.mark.parametrize("overlap,old_works", [("now", False), ("1h", True), ("24h", True), ("7d", True)])
def test_a_rotated_secret_works_beside_the_old_one_for_as_long_as_said(
    shell, tenant, api_client, machine, overlap, old_works
):
    shown = ("client", "rotate-secret", api_client.client_id, "--tenant", "acme", "--overlap", overlap)

    secret = shell.json(*shown)["client_secret"]

    assert machine.request_token(handle(tenant, api_client.client_id, secret)).status_code == 200
    assert machine.request_token(api_client).status_code == (200 if old_works else 401)
    assert shell.events("acme") == ["client.secret_rotated"]
    assert secret not in shell.audit_log()


def test_a_secret_can_be_rotated_to_one_that_was_chosen(shell, tenant, api_client, machine):
    rotate = ("client", "rotate-secret", api_client.client_id, "--tenant", "acme", "--secret-stdin")

    result = shell.do(*rotate, stdin="a-long-secret-that-somebody-typed\n")

    assert "somebody-typed" not in result.output
    chosen = handle(tenant, api_client.client_id, "a-long-secret-that-somebody-typed")
    assert machine.request_token(chosen).status_code == 200
    again = shell.refusal(*rotate, stdin="a-long-secret-that-somebody-typed\n")
    assert again == "This client has or had that secret. Use another one."


def test_an_unknown_overlap_is_wrong_use(shell, api_client):
    rotate = ("client", "rotate-secret", api_client.client_id, "--tenant", "acme", "--overlap", "2h")

    assert shell.run(*rotate).exit_code == 2
    assert shell.events("acme") == []


def test_revoking_all_ends_the_tokens_of_that_client_only(shell, world, tenant, api_client, machine):
    other = world.client(tenant)
    token, others = machine.token(api_client), machine.token(other)

    shell.do("client", "revoke-all", api_client.client_id, "--tenant", "acme")

    assert not machine.works(token)
    assert machine.works(others)
    assert machine.works(machine.token(api_client))
    assert shell.events("acme") == ["client.tokens_revoked"]


def test_a_client_that_is_off_works_again_when_it_is_on(shell, api_client, machine):
    token = machine.token(api_client)

    shell.do("client", "disable", api_client.client_id, "--tenant", "acme")
    assert not machine.works(token)
    assert machine.request_token(api_client).status_code == 401
    assert shell.do("client", "disable", api_client.client_id, "--tenant", "acme").stderr.endswith("off already.\n")

    shell.do("client", "enable", api_client.client_id, "--tenant", "acme")
    assert machine.works(token)
    assert shell.do("client", "enable", api_client.client_id, "--tenant", "acme").stderr.endswith("on already.\n")
    assert shell.events("acme") == ["client.disabled", "client.enabled"]


def test_a_deleted_client_is_gone_with_its_tokens(shell, api_client, machine):
    token = machine.token(api_client)

    refused = shell.run("client", "delete", api_client.client_id, "--tenant", "acme", stdin="n\n")
    assert refused.exit_code == 1
    assert machine.works(token)

    shell.do("client", "delete", api_client.client_id, "--tenant", "acme", "--yes")
    assert not machine.works(token)
    assert shell.events("acme") == ["client.deleted"]


def test_a_client_of_another_tenant_is_unknown(shell, api_client, other_tenant):
    for command in ("show", "rotate-secret", "revoke-all", "disable", "enable", "delete"):
        line = shell.refusal("client", command, api_client.client_id, "--tenant", "globex")
        assert line == f"No client '{api_client.client_id}' in globex."
    near = api_client.client_id + "x"
    line = shell.refusal("client", "show", near, "--tenant", "acme")
    assert line == f"No client '{near}' in acme. Did you mean '{api_client.client_id}'?"


def test_an_app_is_the_business_of_flask_app(shell, world, tenant):
    app = world.oauth_app(tenant)

    for command in ("show", "rotate-secret", "disable", "enable", "delete"):
        line = shell.refusal("client", command, app.client_id, "--tenant", "acme")
        assert line == f"'{app.client_id}' is an app. Use:  flask app"
    assert shell.json("client", "list", "--tenant", "acme") == []
    shell.do("client", "revoke-all", app.client_id, "--tenant", "acme")
    assert shell.events("acme") == ["client.tokens_revoked"]


def test_a_client_may_get_shorter_lived_tokens_than_its_tenant(shell, machine, tenant):
    made = shell.json(*CREATE, "--token-lifetime", "3600")

    answer = machine.post_token(
        f"grant_type=client_credentials&client_id={made['client_id']}&client_secret={made['client_secret']}"
    )

    assert answer.json["expires_in"] == 3600
    for seconds in ("59", "31536001", "-1"):
        assert "from 60 to 31536000 seconds" in shell.refusal(*CREATE, "--token-lifetime", seconds)

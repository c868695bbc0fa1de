"""`flask client ...`"""

from __future__ import annotations

import json
import re

import pytest

from tests.signing import Signer, request_token
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


class TestScopes:
    @pytest.fixture(autouse=True)
    def catalogue(self, shell, tenant):
        for name in ("reports:read", "reports:write", "sites"):
            shell.do("scope", "add", "--tenant", "acme", name)

    def test_a_client_is_made_with_the_scopes_it_may_ask_for(self, shell, machine, tenant):
        made = shell.json(*CREATE, "--scope", "reports:write reports:read", "--default-scope", "reports:read")
        client = handle(tenant, made["client_id"], made["client_secret"])

        assert (made["scope"], made["default_scope"]) == ("reports:read reports:write", "reports:read")
        assert machine.verify(machine.token(client)).json["scope"] == "reports:read"
        assert machine.request_token(client, scope="reports:write").status_code == 200
        assert machine.request_token(client, scope="sites").json["error"] == "invalid_scope"

    def test_they_are_changed_and_its_tokens_keep_what_they_have(self, shell, machine, api_client):
        token = machine.token(api_client)
        change = ("client", "set", api_client.client_id, "--tenant", "acme")

        shown = shell.json(*change, "--scope", "sites")

        assert shown["scope"] == "sites"
        assert machine.works(token)
        assert "scope" not in machine.verify(token).json
        assert machine.request_token(api_client, scope="reports:read").json["error"] == "invalid_scope"
        assert shell.json(*change, "--scope", "")["scope"] == ""
        assert machine.request_token(api_client, scope="reports:read").status_code == 200
        assert shell.events("acme").count("client.changed") == 2

    def test_what_an_app_may_ask_for_is_each_tenants_own(self, shell, world, tenant, other_tenant):
        app = world.oauth_app(tenant, other_tenant)

        shown = shell.json("client", "set", app.client_id, "--tenant", "acme", "--scope", "sites")

        assert shown["scope"] == "sites"
        for option in ("--resource-server", "--no-keys"):
            line = shell.refusal("client", "set", app.client_id, "--tenant", "acme", option)
            assert line == f"'{app.client_id}' is an app. Use:  flask app"

    @pytest.mark.parametrize(
        "options,refusal",
        [
            (("--scope", "nope"), "The tenant has no scope 'nope'."),
            (("--default-scope", "nope"), "The tenant has no scope 'nope'."),
            (("--scope", "sites", "--default-scope", "reports:read"), "The default scopes must be among those"),
        ],
    )
    def test_a_scope_that_is_not_there_is_refused(self, shell, api_client, options, refusal):
        change = ("client", "set", api_client.client_id, "--tenant", "acme")

        assert shell.refusal(*change, *options).startswith(refusal)
        assert shell.refusal(*CREATE, *options).startswith(refusal)
        assert len(shell.json("client", "list", "--tenant", "acme")) == 1
        assert "client.changed" not in shell.events("acme")

    def test_each_half_is_checked_with_the_other(self, shell, api_client):
        change = ("client", "set", api_client.client_id, "--tenant", "acme")
        shell.do(*change, "--scope", "sites reports:read", "--default-scope", "sites")

        assert shell.refusal(*change, "--scope", "reports:read").startswith("The default scopes must be among those")
        assert shell.json(*change, "--default-scope", "reports:read")["scope"] == "reports:read sites"


def test_an_api_may_introspect_what_it_did_not_get_itself(shell, world, tenant, machine, api_client):
    made = shell.json(*CREATE, "--resource-server")
    api, token = handle(tenant, made["client_id"], made["client_secret"]), machine.token(api_client)

    assert made["resource_server"] is True
    assert machine.introspect(api, token).json["active"] is True
    change = ("client", "set", api.client_id, "--tenant", "acme")
    assert shell.json(*change, "--no-resource-server")["resource_server"] is False
    assert machine.introspect(api, token).json == {"active": False}
    assert shell.json(*change, "--resource-server")["resource_server"] is True


def test_the_lifetime_of_new_tokens_is_changed(shell, machine, api_client):
    change = ("client", "set", api_client.client_id, "--tenant", "acme", "--token-lifetime")

    assert shell.json(*change, "3600")["token_lifetime"] == 3600
    assert machine.request_token(api_client).json["expires_in"] == 3600
    assert shell.json(*change, "0")["token_lifetime"] is None
    assert machine.request_token(api_client).json["expires_in"] == 31_536_000
    assert "from 60 to 31536000 seconds" in shell.refusal(*change, "59")


class TestKeys:
    @pytest.fixture
    def signer(self):
        return Signer(kid="first")

    @pytest.fixture
    def jwks_file(self, tmp_path, signer):
        path = tmp_path / "jwks.json"
        path.write_text(signer.jwks)
        return str(path)

    def test_a_client_is_made_with_keys_beside_its_secret(self, shell, tenant, machine, signer, jwks_file):
        made = shell.json(*CREATE, "--jwks-file", jwks_file)

        assert (made["jwks_uri"], made["key_ids"]) == (None, ["first"])
        assert request_token(machine, signer.assertion(made["client_id"])).status_code == 200
        assert machine.token(handle(tenant, made["client_id"], made["client_secret"]))

    def test_a_client_is_made_with_keys_alone(self, shell, tenant, machine, signer):
        made = shell.json(*CREATE, "--jwks-file", "-", "--no-secret", stdin=signer.key.as_pem(private=False))

        assert "client_secret" not in made
        assert made["secret_created_at"] is None
        assert made["key_ids"] == [signer.key.thumbprint()]
        assert request_token(machine, signer.assertion(made["client_id"])).status_code == 200
        assert machine.request_token(handle(tenant, made["client_id"], "x" * 40)).status_code == 401

    def test_it_gets_its_first_secret_later(self, shell, tenant, machine, jwks_file):
        made = shell.json(*CREATE, "--jwks-file", jwks_file, "--no-secret")

        secret = shell.json("client", "rotate-secret", made["client_id"], "--tenant", "acme")["client_secret"]

        assert machine.token(handle(tenant, made["client_id"], secret))

    def test_keys_are_changed_and_taken_away(self, shell, machine, api_client, signer, jwks_file):
        change = ("client", "set", api_client.client_id, "--tenant", "acme")
        shell.do(*change, "--jwks-file", jwks_file)
        assert request_token(machine, signer.assertion(api_client.client_id)).status_code == 200

        shown = shell.json(*change, "--jwks-uri", "https://client.example/jwks.json")
        assert (shown["jwks_uri"], shown["key_ids"]) == ("https://client.example/jwks.json", [])

        shown = shell.json(*change, "--no-keys")
        assert (shown["jwks_uri"], shown["key_ids"]) == (None, [])
        assert request_token(machine, signer.assertion(api_client.client_id)).status_code == 401
        assert shell.events("acme") == ["client.changed"] * 3

    def test_a_client_is_never_left_with_nothing(self, shell, tenant, jwks_file):
        made = shell.json(*CREATE, "--jwks-file", jwks_file, "--no-secret")

        line = shell.refusal("client", "set", made["client_id"], "--tenant", "acme", "--no-keys")

        assert line == "It needs a secret or keys: without both it could not prove who it is."
        assert shell.refusal(*CREATE, "--no-secret") == line

    @pytest.mark.parametrize(
        "options,stdin,refusal",
        [
            (("--jwks-file", "/nowhere"), None, "'/nowhere' cannot be read: No such file or directory."),
            (("--jwks-file", "/"), None, "'/' cannot be read: Is a directory."),
            (("--jwks-file", "-"), "", "Give a JWK set (JSON) or public keys in PEM."),
            (("--jwks-file", "-"), b"\xff", "The keys are no UTF-8 text."),
            (("--jwks-file", "-"), " " * 70_000, "Keys have 64 kB at most."),
            (("--jwks-file", "-"), '{"kty": "oct", "k": "AAAA"}', "A symmetric key (oct) is a shared secret."),
            (("--jwks-uri", "http://client.example/"), None, "A key address looks like https://"),
        ],
    )
    def test_keys_that_cannot_be_used_are_refused(self, shell, api_client, options, stdin, refusal):
        change = ("client", "set", api_client.client_id, "--tenant", "acme")

        assert shell.refusal(*change, *options, stdin=stdin).startswith(refusal)
        assert shell.refusal(*CREATE, *options, stdin=stdin).startswith(refusal)
        assert shell.events("acme") == []

    def test_a_private_key_is_not_repeated(self, shell, tenant, signer):
        secret = signer.key.as_dict(private=True)

        result = shell.run(*CREATE, "--jwks-file", "-", stdin=json.dumps(secret))

        assert result.exit_code == 1
        assert "This is a private key." in result.stderr
        assert secret["d"] not in result.output + shell.audit_log()

    @pytest.mark.parametrize(
        "options",
        [
            ("--jwks-file", "-", "--jwks-uri", "https://client.example/"),
            ("--jwks-file", "-", "--secret-stdin"),
            ("--no-secret", "--secret-stdin"),
        ],
    )
    def test_options_that_do_not_go_together_are_wrong_use(self, shell, tenant, options):
        assert shell.run(*CREATE, *options, stdin="x").exit_code == 2


def test_a_change_of_nothing_is_wrong_use(shell, api_client):
    change = ("client", "set", api_client.client_id, "--tenant", "acme")

    assert shell.run(*change).exit_code == 2
    assert shell.run(*change, "--no-keys", "--jwks-file", "-", stdin="x").exit_code == 2
    assert shell.events("acme") == []


def test_a_client_of_another_tenant_is_not_changed(shell, api_client, other_tenant):
    line = shell.refusal("client", "set", api_client.client_id, "--tenant", "globex", "--resource-server")

    assert line == f"No client '{api_client.client_id}' in globex."


def test_the_page_of_a_client_without_a_secret_opens_and_gives_it_one(shell, tenant, browser, admin):
    made = shell.json(*CREATE, "--jwks-file", "-", "--no-secret", stdin=Signer().jwks)
    browser.sign_in(admin)

    page = browser.get("/settings/app/api-clients")
    address = re.search(r'href="(/settings/app/api-clients/[0-9]+)"', page.text).group(1)

    assert browser.get(address).status_code == 200
    assert made["client_id"] in browser.page.text
    assert browser.get(f"{address}/secret").status_code == 200


def test_networks_are_set_shown_and_taken_away(shell, tenant):
    made = shell.json(*CREATE, "--client-id", "power-bi", "--network", "203.0.113.7")
    assert made["networks"] == ["203.0.113.7/32"]

    changed = shell.json("client", "set", "power-bi", "--tenant", "acme", "--network", "10.0.0.0/8", "--network", "::1")
    assert changed["networks"] == ["10.0.0.0/8", "::1/128"]

    assert shell.json("client", "set", "power-bi", "--tenant", "acme", "--no-networks")["networks"] == []
    assert shell.events("acme") == ["client.changed", "client.changed", "client.created"]


def test_a_network_that_is_none_is_named_and_changes_nothing(shell, tenant):
    shell.json(*CREATE, "--client-id", "power-bi", "--network", "10.0.0.0/8")

    refused = shell.refusal("client", "set", "power-bi", "--tenant", "acme", "--network", "office")
    assert "“office” is no IP address or network." in refused
    shell.run("client", "set", "power-bi", "--tenant", "acme", "--network", "::1", "--no-networks")
    assert shell.json("client", "show", "power-bi", "--tenant", "acme")["networks"] == ["10.0.0.0/8"]


def test_a_secret_stops_with_the_day_that_was_named(shell, tenant, machine):
    end = 1_956_527_999  # the last second of 2031
    made = shell.json(*CREATE, "--client-id", "power-bi", "--secret-expires", "2031-01-01")
    assert made["secret_expires_at"] == end - 364 * 86_400

    changed = shell.json("client", "set", "power-bi", "--tenant", "acme", "--secret-expires", "2031-12-31")
    assert changed["secret_expires_at"] == end
    kept = shell.json("client", "rotate-secret", "power-bi", "--tenant", "acme", "--secret-expires", "2031-12-31")
    assert kept["secret_expires_at"] == end
    assert shell.json("client", "rotate-secret", "power-bi", "--tenant", "acme")["secret_expires_at"] is None
    changed = shell.json("client", "set", "power-bi", "--tenant", "acme", "--secret-expires", "never")
    assert changed["secret_expires_at"] is None


@pytest.mark.parametrize("text", ["tomorrow", "2031-02-30", "2020-01-01", "9999-12-31", ""])
def test_a_day_on_which_no_secret_can_stop_is_refused(shell, tenant, text):
    shell.json(*CREATE, "--client-id", "power-bi")

    result = shell.run("client", "set", "power-bi", "--tenant", "acme", "--secret-expires", text)

    assert result.exit_code in {1, 2}
    assert isinstance(result.exception, SystemExit)
    assert shell.json("client", "show", "power-bi", "--tenant", "acme")["secret_expires_at"] is None


def test_a_client_without_a_secret_has_none_that_could_expire(shell, tenant, tmp_path):
    keys = tmp_path / "keys.json"
    keys.write_text(Signer().jwks)
    shell.json(*CREATE, "--client-id", "power-bi", "--no-secret", "--jwks-file", str(keys))

    refused = shell.refusal("client", "set", "power-bi", "--tenant", "acme", "--secret-expires", "2031-01-01")
    assert "It has no secret that could expire." in refused

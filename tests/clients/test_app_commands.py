"""`flask app ...`"""

from __future__ import annotations

import pytest

from tests.pictures import picture
from tests.signing import Signer, with_assertion
from tests.world import AppHandle

URI = "https://fieldapp.example/callback"
CREATE = ("app", "create", "--name", "Field App", "--redirect-uri", URI)


def as_handle(made: dict) -> AppHandle:
    return AppHandle(0, made["client_id"], made.get("client_secret"), URI, made["name"])


def test_s9_support_registers_an_app_and_hands_over_an_id_and_secret_that_work(
    shell, tenant, other_tenant, member, browser, machine
):
    made = shell.json(*CREATE, "--publisher", "Field Inc.", "--tenant", "acme")

    assert made["client_id"].startswith("app_")
    assert made["redirect_uris"] == [URI]
    assert made["tenants"] == ["acme"]
    assert (made["public"], made["all_tenants"], made["publisher"]) == (False, False, "Field Inc.")
    browser.sign_in(member)
    code = browser.get_code(as_handle(made))
    assert machine.works(machine.redeem(as_handle(made), code).json["access_token"])
    assert shell.events() == ["app.created", "app.enabled"]
    assert "app.enabled" in shell.events("acme")
    assert shell.events("globex") == []
    assert made["client_secret"] not in shell.audit_log()


def test_an_app_for_all_tenants_is_on_for_those_made_later_too(shell, world, tenant, other_tenant):
    app = shell.json(*CREATE, "--all-tenants")
    world.tenant("later")

    shown = shell.json("app", "show", app["client_id"])

    assert shown["all_tenants"] is True
    assert shown["tenants"] == ["acme", "globex", "later"]
    assert shell.events("acme") == shell.events("globex") == shell.events("later") == ["app.enabled"]


def test_a_public_app_has_no_secret_and_needs_pkce(shell, tenant):
    made = shell.json(*CREATE, "--public", "--tenant", "acme")

    assert "client_secret" not in made
    assert made["public"] is True
    assert made["pkce_required"] is True
    line = shell.refusal("app", "rotate-secret", made["client_id"])
    assert line == f"'{made['client_id']}' is a public app: it has no secret."


def test_what_the_operator_says_of_an_app_is_kept(shell, tenant):
    made = shell.json(*CREATE, "--first-party", "--require-pkce", "--tenant", "acme")

    assert (made["first_party"], made["pkce_required"]) == (True, True)
    listed = shell.json("app", "list")
    assert [app["client_id"] for app in listed] == [made["client_id"]]
    assert "client_secret" not in listed[0]
    assert made["client_id"] in shell.do("app", "list").stdout


@pytest.mark.parametrize("uri,warned", [("com.example.field:/cb", True), ("http://127.0.0.1/cb", True), (URI, False)])
def test_a_first_party_app_on_a_device_asks_all_the_same_and_the_operator_is_told(shell, tenant, uri, warned):
    create = ("app", "create", "--name", "F", "--redirect-uri", uri, "--tenant", "acme")

    assert ("people are asked all the same" in shell.do(*create, "--first-party").stderr) is warned
    assert "people are asked all the same" not in shell.do(*create).stderr


@pytest.mark.parametrize("options", [(), ("--tenant", "acme", "--all-tenants")], ids=["neither", "both"])
def test_it_must_be_said_for_whom_an_app_is(shell, tenant, options):
    result = shell.run(*CREATE, *options)

    assert result.exit_code == 2
    assert "--all-tenants" in result.stderr
    assert shell.json("app", "list") == []


@pytest.mark.parametrize(
    "arguments,refusal",
    [
        (("--name", "F", "--redirect-uri", "javascript:alert(1)"), "javascript:alert(1) must start with"),
        (("--name", "F", "--redirect-uri", "https://a.example/#x"), "https://a.example/#x must not have a #"),
        (("--name", " ", "--redirect-uri", URI), "Enter a name."),
        (("--name", "F", "--redirect-uri", URI, "--tenant", "acmee"), "No tenant 'acmee'. Did you mean"),
        (("--name", "F", "--redirect-uri", URI, "--publisher", "\udce9"), r"'\udce9' is not text"),
    ],
)
def test_an_app_that_cannot_be_made_is_refused_and_leaves_nothing(shell, tenant, arguments, refusal):
    assert shell.refusal("app", "create", *arguments, "--tenant", "acme").startswith(refusal)
    assert shell.json("app", "list") == []
    assert shell.events() == []


def test_an_app_gets_a_new_secret(shell, world, tenant, member, browser, machine):
    app = world.oauth_app(tenant)
    browser.sign_in(member)

    made = shell.json("app", "rotate-secret", app.client_id, "--overlap", "now")

    assert machine.redeem(app, browser.get_code(app)).status_code == 401
    code = browser.get_code(app)
    assert machine.redeem(app, code, client_secret=made["client_secret"]).status_code == 200
    assert shell.events() == ["app.secret_rotated"]
    assert made["client_secret"] not in shell.audit_log()


def test_an_app_is_turned_off_and_on_for_one_tenant(shell, world, tenant, other_tenant):
    app = world.oauth_app(tenant, other_tenant)

    shell.do("app", "disable", app.client_id, "--tenant", "acme")
    assert shell.json("app", "show", app.client_id)["tenants"] == ["globex"]
    shell.do("app", "disable", app.client_id, "--tenant", "acme")
    shell.do("app", "enable", app.client_id, "--tenant", "acme", "--tenant", "globex")
    assert shell.json("app", "show", app.client_id)["tenants"] == ["acme", "globex"]

    assert shell.events("acme") == ["app.disabled", "app.enabled"]
    assert shell.events("globex") == []


def test_an_app_is_turned_on_for_everybody_later(shell, world, tenant, other_tenant):
    app = world.oauth_app(tenant)

    shell.do("app", "enable", app.client_id, "--all-tenants")

    shown = shell.json("app", "show", app.client_id)
    assert (shown["all_tenants"], shown["tenants"]) == (True, ["acme", "globex"])
    assert shell.events("acme") == []
    assert shell.events("globex") == ["app.enabled"]
    both = shell.run("app", "enable", app.client_id, "--all-tenants", "--tenant", "acme")
    assert both.exit_code == 2


def test_an_app_is_turned_off_and_on_everywhere(shell, world, tenant, other_tenant, member, browser, machine):
    app = world.oauth_app(tenant)
    browser.sign_in(member)
    token = machine.redeem(app, browser.get_code(app)).json["access_token"]

    shell.do("app", "disable", app.client_id)
    assert not machine.works(token)
    assert shell.do("app", "disable", app.client_id).stderr == f"{app.client_id} is off already.\n"
    assert "turned off everywhere" in shell.do("app", "enable", app.client_id, "--tenant", "globex").stderr
    shell.do("app", "enable", app.client_id)

    assert machine.works(token)
    assert shell.do("app", "enable", app.client_id).stderr == f"{app.client_id} is on already.\n"
    assert shell.events() == ["app.disabled", "app.enabled", "app.enabled"]
    assert [event for event in shell.events("acme") if event.startswith("app")] == [
        "app.disabled",
        "app.enabled",
    ]


def test_a_deleted_app_is_gone_everywhere(shell, world, tenant, other_tenant):
    app = world.oauth_app(tenant)
    assert shell.run("app", "delete", app.client_id, stdin="n\n").exit_code == 1
    assert len(shell.json("app", "list")) == 1

    shell.do("app", "delete", app.client_id, "--yes")

    assert shell.json("app", "list") == []
    assert shell.events() == shell.events("acme") == ["app.deleted"]
    assert shell.events("globex") == []


def test_an_unknown_app_is_refused_with_the_nearest_id(shell, world):
    app = world.oauth_app()

    line = shell.refusal("app", "show", app.client_id + "x")

    assert line == f"No app '{app.client_id}x'. Did you mean '{app.client_id}'?"


def test_an_app_gets_another_address_and_keeps_what_people_allowed(shell, tenant, member, browser, machine):
    app = as_handle(shell.json(*CREATE, "--tenant", "acme"))
    browser.sign_in(member)
    token = machine.redeem(app, browser.get_code(app)).json["access_token"]

    changed = shell.json(
        "app", "set", app.client_id, "--name", "Field Two", "--publisher", "Field Ltd", "--redirect-uri", URI,
        "--redirect-uri", "https://new.example/cb",
    )  # fmt: skip

    assert changed["redirect_uris"] == [URI, "https://new.example/cb"]
    assert (changed["name"], changed["publisher"]) == ("Field Two", "Field Ltd")
    assert machine.verify(token).json["client_name"] == "Field Two"
    assert browser.get_code(app, redirect_uri="https://new.example/cb")
    assert "app.changed" in shell.events()


def test_an_app_is_not_changed_to_what_cannot_be(shell, tenant):
    app = shell.json(*CREATE, "--tenant", "acme")

    assert shell.run("app", "set", app["client_id"]).exit_code == 2
    assert "must not have a #" in shell.refusal(
        "app", "set", app["client_id"], "--redirect-uri", "https://a.example/#x"
    )
    assert shell.refusal("app", "set", app["client_id"], "--name", " ") == "Enter a name."
    assert shell.json("app", "show", app["client_id"])["redirect_uris"] == [URI]


def test_an_app_is_made_with_everything_that_can_be_said_of_it(shell, tenant):
    plain = shell.json(*CREATE, "--tenant", "acme")
    made = shell.json(
        *CREATE, "--tenant", "acme", "--refresh-tokens", "--device-grant", "--require-par", "--token-lifetime", "3600"
    )

    options = ("refresh_tokens", "device_grant", "par_required", "token_lifetime")
    assert [plain[option] for option in options] == [False, False, False, None]
    assert [made[option] for option in options] == [True, True, True, 3600]
    assert made in [{**listed, "client_secret": made["client_secret"]} for listed in shell.json("app", "list")]


LINKS = ("--site", "https://field.example", "--privacy", "https://field.example/p", "--terms", "http://localhost/t")


def links_of(shown: dict) -> list[str]:
    return [shown["site_url"], shown["privacy_url"], shown["terms_url"]]


def test_an_operator_says_where_people_read_about_an_app(shell, tenant):
    plain = shell.json(*CREATE, "--tenant", "acme")
    made = shell.json(*CREATE, "--tenant", "acme", *LINKS)

    assert links_of(plain) == ["", "", ""]
    assert links_of(shell.json("app", "show", made["client_id"])) == [*LINKS[1::2]]
    assert "https://field.example/p" in shell.do("app", "show", made["client_id"]).stdout


def test_an_operator_changes_each_link_of_an_app_alone_and_takes_it_away(shell, tenant):
    app = shell.json(*CREATE, "--tenant", "acme", *LINKS)
    change = ("app", "set", app["client_id"])

    assert links_of(shell.json(*change, "--name", "Other")) == [*LINKS[1::2]]
    assert links_of(shell.json(*change, "--site", "https://new.example/")) == ["https://new.example/", *LINKS[3::2]]
    assert links_of(shell.json(*change, "--privacy", "")) == ["https://new.example/", "", LINKS[5]]
    assert links_of(shell.json(*change, "--site", "", "--terms", "")) == ["", "", ""]
    assert "Changed: site, terms." in shell.audit_log()


@pytest.mark.parametrize("option", ["--site", "--privacy", "--terms"])
def test_a_link_that_people_must_not_follow_is_refused_and_changes_nothing(shell, tenant, option):
    bad = (option, "javascript:alert(1)")

    assert f"({option})" in shell.refusal(*CREATE, "--tenant", "acme", *bad)
    assert shell.json("app", "list") == []
    app = shell.json(*CREATE, "--tenant", "acme", *LINKS)
    assert f"({option})" in shell.refusal("app", "set", app["client_id"], "--name", "Other", *bad)
    shown = shell.json("app", "show", app["client_id"])
    assert (shown["name"], *links_of(shown)) == ("Field App", *LINKS[1::2])


def test_an_app_gets_refresh_tokens_and_shorter_lived_ones_from_now_on(shell, tenant, member, browser, machine):
    app = as_handle(shell.json(*CREATE, "--tenant", "acme"))
    browser.sign_in(member)
    before = machine.redeem(app, browser.get_code(app)).json

    shell.do("app", "set", app.client_id, "--refresh-tokens", "--token-lifetime", "3600")
    after = machine.redeem(app, browser.get_code(app)).json

    assert "refresh_token" not in before
    assert "refresh_token" in after
    assert after["expires_in"] == 3600
    assert machine.works(before["access_token"])
    shell.do("app", "set", app.client_id, "--no-refresh-tokens", "--token-lifetime", "0")
    assert machine.refresh(app, after["refresh_token"]).json["error"] == "unauthorized_client"
    assert shell.json("app", "show", app.client_id)["token_lifetime"] is None
    assert shell.events().count("app.changed") == 2


@pytest.mark.parametrize(
    "on,off,member_name",
    [
        ("--refresh-tokens", "--no-refresh-tokens", "refresh_tokens"),
        ("--device-grant", "--no-device-grant", "device_grant"),
        ("--require-par", "--no-require-par", "par_required"),
    ],
)
def test_each_option_is_turned_on_and_off_alone(shell, tenant, on, off, member_name):
    app = shell.json(*CREATE, "--tenant", "acme")

    turned_on = shell.json("app", "set", app["client_id"], on)
    renamed = shell.json("app", "set", app["client_id"], "--name", "Other")
    turned_off = shell.json("app", "set", app["client_id"], off)

    assert [shown[member_name] for shown in (turned_on, renamed, turned_off)] == [True, True, False]
    changed = {name for name in app if name in turned_on and app[name] != turned_on[name]}
    assert changed == {member_name}


def test_an_app_for_devices_alone_needs_no_address(shell, tenant):
    nowhere = ("app", "create", "--name", "Meter", "--public", "--tenant", "acme")

    assert shell.run(*nowhere).exit_code == 2
    assert shell.json(*nowhere, "--device-grant")["redirect_uris"] == []


class TestKeys:
    @pytest.fixture
    def signer(self):
        return Signer(kid="first")

    def test_an_app_that_signs_has_no_secret_and_is_not_public(self, shell, tenant, signer, member, browser, machine):
        made = shell.json(*CREATE, "--jwks-file", "-", "--no-secret", "--tenant", "acme", stdin=signer.jwks)
        app = as_handle(made)
        browser.sign_in(member)

        bare = machine.redeem(app, browser.get_code(app))
        signed = machine.redeem(app, browser.get_code(app), **with_assertion(signer.assertion(app.client_id)))

        assert "client_secret" not in made
        assert (made["public"], made["key_ids"]) == (False, ["first"])
        assert (bare.status_code, signed.status_code) == (401, 200)

    def test_keys_are_changed_and_taken_away(self, shell, tenant, signer):
        app = shell.json(*CREATE, "--tenant", "acme")
        change = ("app", "set", app["client_id"])

        assert shell.json(*change, "--jwks-file", "-", stdin=signer.jwks)["key_ids"] == ["first"]
        shown = shell.json(*change, "--jwks-uri", "https://client.example/jwks.json")
        assert (shown["jwks_uri"], shown["key_ids"]) == ("https://client.example/jwks.json", [])
        assert shell.json(*change, "--no-keys")["jwks_uri"] is None
        assert shell.events().count("app.changed") == 3

    def test_an_app_is_never_left_with_nothing(self, shell, tenant, signer):
        app = shell.json(*CREATE, "--jwks-file", "-", "--no-secret", "--tenant", "acme", stdin=signer.jwks)
        line = shell.refusal("app", "set", app["client_id"], "--no-keys")

        assert line == "It needs a secret or keys: without both it could not prove who it is."
        shell.do("app", "rotate-secret", app["client_id"])
        assert shell.json("app", "set", app["client_id"], "--no-keys")["key_ids"] == []

    def test_a_public_app_has_none(self, shell, tenant, signer):
        app = shell.json(*CREATE, "--public", "--tenant", "acme")

        line = shell.refusal("app", "set", app["client_id"], "--jwks-file", "-", stdin=signer.jwks)

        assert line == "A public app can keep nothing secret, so it has no keys either."

    @pytest.mark.parametrize(
        "options",
        [
            ("--public", "--jwks-uri", "https://client.example/"),
            ("--public", "--no-secret"),
            ("--no-secret",),
            ("--jwks-file", "-", "--jwks-uri", "https://client.example/"),
        ],
    )
    def test_options_that_do_not_go_together_are_wrong_use(self, shell, tenant, options):
        assert shell.run(*CREATE, "--tenant", "acme", *options, stdin="x").exit_code == 2
        assert shell.json("app", "list") == []

    def test_so_are_keys_and_none(self, shell, tenant, signer):
        app = shell.json(*CREATE, "--tenant", "acme")
        options = ("--no-keys", "--jwks-uri", "https://client.example/")

        assert shell.run("app", "set", app["client_id"], *options).exit_code == 2


def test_an_app_has_a_logo_as_long_as_the_operator_wants(shell, tenant, tmp_path):
    first, second = tmp_path / "one.webp", tmp_path / "two.jpg"
    first.write_bytes(picture("WEBP"))
    second.write_bytes(picture("JPEG"))

    made = shell.json(*CREATE, "--tenant", "acme", "--logo", str(first))
    change = ("app", "set", made["client_id"], "--logo")
    assert made["has_logo"] is True
    assert shell.json(*change, str(second))["has_logo"] is True
    assert shell.json(*change, "")["has_logo"] is False
    assert shell.json("app", "set", made["client_id"], "--name", "Other")["has_logo"] is False


def test_what_is_no_logo_is_refused_and_leaves_the_one_there_is(shell, tenant, tmp_path):
    good, drawing = tmp_path / "one.png", tmp_path / "two.png"
    good.write_bytes(picture())
    drawing.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    made = shell.json(*CREATE, "--tenant", "acme", "--logo", str(good))
    change = ("app", "set", made["client_id"], "--logo")

    assert "SVG and others are not taken" in shell.refusal(*change, str(drawing))
    assert "cannot be read" in shell.refusal(*change, str(tmp_path / "none.png"))
    assert "SVG and others are not taken" in shell.refusal(*CREATE, "--tenant", "acme", "--logo", str(drawing))
    assert shell.json("app", "show", made["client_id"])["has_logo"] is True
    assert len(shell.json("app", "list")) == 1


def test_an_app_may_be_a_resource_server_and_lose_the_mark(shell, tenant):
    uri = "https://gateway.example/cb"
    made = shell.json("app", "create", "--name", "Gateway", "--redirect-uri", uri, "--all-tenants", "--resource-server")
    assert made["resource_server"] is True

    changed = shell.json("app", "set", made["client_id"], "--no-resource-server")

    assert changed["resource_server"] is False


def test_a_public_app_is_no_resource_server(shell, world, tenant):
    public = world.oauth_app(tenant, public=True)

    assert "A public app proves nothing" in shell.refusal("app", "set", public.client_id, "--resource-server")
    assert "A public app proves nothing" in shell.refusal(
        "app", "create", "--name", "X", "--redirect-uri", "com.x:/", "--public", "--all-tenants", "--resource-server"
    )

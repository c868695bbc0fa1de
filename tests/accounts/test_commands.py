"""`flask user ...`"""

from __future__ import annotations

import pytest
from sqlalchemy import update

from app.accounts import registry
from app.extensions import db
from app.tenants.models import Tenant
from tests.world import UserHandle, now

CREATE = ("user", "create", "--tenant", "acme", "--email", "ana@acme.example", "--name", "Ana Ruiz")
ANA = ("ana@acme.example", "--tenant", "acme")


def can_sign_in(browser, tenant, password: str) -> bool:
    browser.sign_in(UserHandle(tenant, 0, "ana@acme.example", "Ana Ruiz", password))
    signed_in = browser.get("/account/apps").status_code == 200
    if signed_in:
        browser.sign_out()
    return signed_in


def test_a_user_gets_a_password_that_is_printed_once(shell, tenant, browser):
    made = shell.json(*CREATE, "--admin")

    password = made.pop("password")
    assert {"email": "ana@acme.example", "name": "Ana Ruiz", "role": "admin", "disabled": False}.items() <= (
        made.items()
    )
    assert can_sign_in(browser, tenant, password)
    assert shell.json("user", "list", "--tenant", "acme") == [made]
    assert password not in shell.audit_log()


def test_a_password_on_standard_input_is_taken_without_its_line_break_and_not_repeated(shell, tenant, browser):
    result = shell.do(*CREATE, "--password-stdin", stdin="a long enough password\n")

    assert "a long enough" not in result.output
    assert can_sign_in(browser, tenant, "a long enough password")
    assert "a long enough" not in shell.audit_log()
    assert shell.events("acme").count("user.created") == 1


@pytest.mark.parametrize(
    "stdin,refusal",
    [
        (b"", "There is no password on standard input."),
        (b"\n", "There is no password on standard input."),
        (b"short\n", "A password has 10 to 256 characters."),
        (b"one line is fine\ntwo are not\n", "The password on standard input is not one line of text."),
        (b"\xff" * 20, "The password on standard input is not UTF-8 text."),
        (b"x" * 5000, "The password on standard input is not one line of text."),
    ],
)
def test_a_password_that_is_none_is_refused(shell, tenant, stdin, refusal):
    assert shell.refusal(*CREATE, "--password-stdin", stdin=stdin) == refusal
    assert shell.json("user", "list", "--tenant", "acme") == []
    assert shell.events("acme") == []


def test_a_user_that_cannot_be_made_is_refused(shell, tenant, other_tenant):
    shell.do(*CREATE)

    assert shell.refusal(*CREATE) == "There is a user ana@acme.example already."
    other = ("user", "create", "--tenant", "acme", "--email", "ana", "--name", "Ana")
    assert shell.refusal(*other) == "'ana' is not an e-mail address."
    assert shell.refusal("user", "list", "--tenant", "globe") == "No tenant 'globe'. Did you mean 'globex'?"


def test_a_new_password_ends_the_old_one_and_its_sessions(shell, tenant, admin, browser):
    browser.sign_in(admin)

    password = shell.json("user", "set-password", *ANA)["password"]

    assert browser.get("/account/apps").status_code == 303
    assert not can_sign_in(browser, tenant, admin.password)
    assert can_sign_in(browser, tenant, password)
    typed = shell.do("user", "set-password", *ANA, "--password-stdin", stdin="another long one\r\n")
    assert "another long one" not in typed.output
    assert can_sign_in(browser, tenant, "another long one")
    assert shell.events("acme").count("user.password_set") == 2
    assert password not in shell.audit_log()


def test_a_new_password_that_is_none_is_refused(shell, tenant, admin, browser):
    refusal = shell.refusal("user", "set-password", *ANA, "--password-stdin", stdin=b"short\n")

    assert refusal == "A password has 10 to 256 characters."
    assert can_sign_in(browser, tenant, admin.password)


def test_a_disabled_user_cannot_sign_in_until_enabled(shell, world, tenant, admin, browser):
    world.admin(tenant, "cy@acme.example", "Cy Fox")
    shell.do("user", "disable", *ANA)
    assert not can_sign_in(browser, tenant, admin.password)
    assert shell.json("user", "list", "--tenant", "acme")[0]["disabled"] is True
    assert shell.do("user", "disable", *ANA).stderr == "ana@acme.example is disabled already.\n"

    shell.do("user", "enable", *ANA)
    assert can_sign_in(browser, tenant, admin.password)
    assert shell.do("user", "enable", *ANA).stderr == "ana@acme.example is enabled already.\n"
    assert [event for event in shell.events("acme") if event.startswith("user.")] == [
        "user.disabled",
        "user.enabled",
    ]


def test_the_last_admin_who_can_sign_in_stays_unless_forced(shell, world, tenant, other_tenant, admin, member, browser):
    world.run(lambda: registry.create_user(tenant.id, "new@acme.example", "Invited", now(), admin=True))
    world.admin(other_tenant, "gus@globex.example", "Gus Berg")
    off = world.admin(tenant, "off@acme.example", "Off")
    assert shell.do("user", "disable", off.email, "--tenant", "acme").exit_code == 0
    before = shell.events("acme")

    refusal = shell.refusal("user", "disable", *ANA)

    assert refusal == (
        "ana@acme.example is the last admin who can sign in. First make somebody else one, or say --force."
    )
    assert can_sign_in(browser, tenant, admin.password)
    assert [event for event in shell.events("acme") if event.startswith("user.")] == [
        event for event in before if event.startswith("user.")
    ]
    shell.do("user", "disable", member.email, "--tenant", "acme")
    shell.do("user", "disable", *ANA, "--force")
    assert not can_sign_in(browser, tenant, admin.password)


def test_an_admin_without_a_password_counts_where_people_sign_in_otherwise_too(shell, world, tenant, admin):
    world.run(lambda: registry.create_user(tenant.id, "new@acme.example", "By hand-over", now(), admin=True))
    world.run(
        lambda: db.session.execute(
            update(Tenant).where(Tenant.id == tenant.id).values(sign_in_methods="password handover")
        )
    )

    shell.do("user", "disable", *ANA)


def test_a_user_of_another_tenant_is_unknown(shell, tenant, other_tenant, admin):
    for command in ("set-password", "disable", "enable"):
        line = shell.refusal("user", command, "ana@acme.example", "--tenant", "globex")
        assert line == "No user 'ana@acme.example' in globex."
    near = shell.refusal("user", "disable", "anna@acme.example", "--tenant", "acme")
    assert near == "No user 'anna@acme.example' in acme. Did you mean 'ana@acme.example'?"


def test_a_forgotten_option_is_wrong_use(shell, tenant):
    result = shell.run("user", "create", "--tenant", "acme", "--name", "Ana")

    assert result.exit_code == 2
    assert "--email" in result.stderr
    assert result.stdout == ""

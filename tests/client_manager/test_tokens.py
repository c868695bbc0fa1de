"""Generate a token, look at the tokens, revoke one, revoke all."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.clients import registry, rules
from app.tenants import registry as tenants
from app.tokens import store
from tests.client_manager.pages import CLIENTS, copyable, form_of, manage_page, send, submit, words_of
from tests.world import Machine, now

YEAR = 31_536_000


@pytest.fixture
def manage(api_client):
    return manage_page(api_client.pk)


def revoke_addresses(page):
    """Where the page's Revoke links lead."""
    return [part.split('"')[0] for part in page.text.split('href="') if "/revoke" in part.split('"')[0][-7:]]


def test_s6_generate_a_token_gives_one_that_lasts_a_year(at_work, manage, machine):
    assert "Generate a token" in at_work.get(manage).text

    page = submit(at_work, f"{manage}/tokens/new", name="Finance report")

    token = copyable(page)[0]
    answer = machine.verify(token)
    assert page.status_code == 200
    assert len(token) == 40
    assert answer.status_code == 200
    assert answer.json["exp"] - answer.json["iat"] == YEAR


def test_s6_a_generated_token_works_until_all_are_revoked(at_work, manage, machine, generated):
    assert "Revoke all tokens" in at_work.get(manage).text
    assert machine.works(generated)

    page = submit(at_work, f"{manage}/revoke-all")

    assert not machine.works(generated)
    assert page.status_code == 303
    shown = at_work.get(manage).text
    assert "1 token revoked. Next: generate a new token and put it where the old one was." in shown
    assert "No tokens to revoke." in shown


def test_the_token_is_shown_by_the_post_itself_and_kept_by_nobody(at_work, manage, audited):
    page = submit(at_work, f"{manage}/tokens/new", name="Finance report")
    token = copyable(page)[0]

    assert page.headers["Cache-Control"] == "no-store"
    assert token not in str(page.headers)
    for address in (manage, f"{manage}/activity", f"{manage}/revoke-all"):
        text = at_work.get(address).text
        assert token not in text
        assert f"{token[:9]}...{token[-4:]}" in text
    event, note = audited()[0]
    assert event == "token.issued"
    assert note.startswith(f"“Finance report”, {token[:9]}...{token[-4:]}, works until ")


def test_reloading_the_page_with_the_token_makes_no_second_token(at_work, manage, rows):
    form = {**form_of(at_work.get(f"{manage}/tokens/new")), "name": "Finance report"}
    token = copyable(at_work.post(f"{manage}/tokens/new", form))[0]

    again = at_work.client.post(
        f"{manage}/tokens/new",
        base_url=at_work.tenant.url,
        data=form,
        headers={"Referer": f"{at_work.tenant.url}{manage}/tokens/new"},
    )

    assert again.status_code == 409
    assert "We showed the token once. Lost it? Make a new one." in again.text
    assert token not in again.text
    assert rows() == (1, 1)


def test_the_page_of_the_token_has_a_curl_that_tests_it_and_the_steps_for_power_bi(at_work, manage):
    page = submit(at_work, f"{manage}/tokens/new", name="Finance report")

    token, curl, header, power_query, *others = copyable(page)
    assert curl == f'curl -s https://acme.example/oauth2/verify -H "Authorization: Bearer {token}"'
    assert header == f"Authorization: Bearer {token}"
    assert 'RelativePath = "api/v1/reports"' in power_query
    assert all("api/v1/reports" in snippet and token not in snippet for snippet in (power_query, *others))
    assert "or until someone revokes it" in page.text


@pytest.mark.parametrize("choice, days", [("15552000", 180), ("7776000", 90), ("2592000", 30)])
def test_a_token_may_last_shorter(at_work, manage, machine, choice, days):
    page = submit(at_work, f"{manage}/tokens/new", name="Test", lasts=choice)

    answer = machine.verify(copyable(page)[0]).json
    assert answer["exp"] - answer["iat"] == days * 86_400


def test_a_token_may_last_until_a_day_of_ones_choice(at_work, manage, machine):
    day = time.strftime("%Y-%m-%d", time.gmtime(now() + 45 * 86_400))

    page = submit(at_work, f"{manage}/tokens/new", name="Fair", lasts="until", until=day)

    expires_at = machine.verify(copyable(page)[0]).json["exp"]
    assert time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(expires_at)) == f"{day} 23:59:59"


def test_the_last_day_that_may_be_chosen_ends_with_the_longest_lifetime(at_work, manage, machine):
    day = time.strftime("%Y-%m-%d", time.gmtime(now() + YEAR))

    page = submit(at_work, f"{manage}/tokens/new", name="Fair", lasts="until", until=day)

    answer = machine.verify(copyable(page)[0]).json
    assert answer["exp"] - answer["iat"] <= YEAR


def test_a_day_that_is_none_or_too_far_is_refused_and_beside_another_choice_ignored(at_work, manage, rows):
    too_far = time.strftime("%Y-%m-%d", time.gmtime(now() + YEAR + 2 * 86_400))
    for day in ("", "2001-01-01", too_far, "31.12.2026", "9999-12-31", "2026-13-01", "\0"):
        page = submit(at_work, f"{manage}/tokens/new", name="Fair", lasts="until", until=day)

        assert page.status_code == 422, day
        assert words_of(page).count("Choose a date from") == 2, day
    assert rows() == (1, 0)
    assert submit(at_work, f"{manage}/tokens/new", name="Fair", lasts=str(YEAR), until="2001-01-01").status_code == 200


def make_tokens(client, count):
    registered = registry.find_registered_client(client.tenant.id, client.client_id, now())
    for _ in range(count):
        store.save_client_token(
            registered, store.new_token(now() + 3600), scope="", now=now(), name="Old", made_by="Ana Ruiz"
        )


def test_a_client_may_have_so_many_tokens_of_people_and_no_more(world, at_work, manage, machine, api_client):
    world.run(lambda: make_tokens(api_client, 99))
    machine.token(api_client)
    assert submit(at_work, f"{manage}/tokens/new", name="The hundredth").status_code == 200

    page = submit(at_work, f"{manage}/tokens/new", name="One more")

    assert page.status_code == 422
    assert "This client has 100 tokens that people made, and may have no more." in words_of(page)
    assert form_of(page)["name"] == "One more"
    submit(at_work, revoke_addresses(at_work.get(manage))[0])
    assert send(at_work, f"{manage}/tokens/new", page).status_code == 200
    assert machine.request_token(api_client).status_code == 200, "programs go on"


def test_of_two_admins_and_an_operator_at_once_one_makes_the_hundredth(
    world, tenant, admin, make_browser, manage, api_client, shell, rows, monkeypatch
):
    world.run(lambda: make_tokens(api_client, 99))
    all_counted = threading.Barrier(3)
    save = store.save_client_token

    def save_when_all_have_counted(*arguments, **values):
        with contextlib.suppress(threading.BrokenBarrierError):
            all_counted.wait(0.5)
        save(*arguments, **values)

    monkeypatch.setattr(store, "save_client_token", save_when_all_have_counted)
    forms = []
    for browser in (make_browser(tenant), make_browser(tenant)):
        browser.sign_in(admin)
        forms.append((browser, {**form_of(browser.get(f"{manage}/tokens/new")), "name": "Another"}))
    create = ("token", "create", "--tenant", tenant.slug, "--client", api_client.client_id, "--name", "Another")

    with ThreadPoolExecutor(3) as callers:
        pages = [callers.submit(browser.post, f"{manage}/tokens/new", form) for browser, form in forms]
        command = callers.submit(shell.run, *create)
        done = [page.result().status_code == 200 for page in pages] + [command.result().exit_code == 0]

    assert done.count(True) == 1
    assert rows() == (1, 100)


def test_make_a_new_one_like_this_offers_the_same_name_and_lifetime(world, tenant, at_work, manage, api_client):
    day = time.strftime("%Y-%m-%d", time.gmtime(now() + 45 * 86_400))
    submit(at_work, f"{manage}/tokens/new", name="Half a year", lasts="15552000")
    submit(at_work, f"{manage}/tokens/new", name="Fair", lasts="until", until=day)
    links = re.findall(r'href="([^"]+tokens/new\?like=[^"]+)">Make a new one like this', at_work.get(manage).text)

    offered = {form["name"]: form for form in (form_of(at_work.get(link)) for link in links)}

    assert offered.keys() == {"Half a year", "Fair"}
    assert offered["Half a year"]["lasts"] == "15552000"
    assert (offered["Fair"]["lasts"], offered["Fair"]["until"]) == ("until", day)
    link = next(link for link in links if "Fair" in at_work.get(link).text)
    assert submit(at_work, link).status_code == 200
    assert words_of(at_work.get(manage)).count("Fair kpa") == 2


def test_one_like_a_token_that_is_none_is_like_any_other(world, tenant, at_work, manage, machine, api_client):
    other = manage_page(world.client(tenant, name="Other").pk)
    submit(at_work, f"{other}/tokens/new", name="Of another client")
    (link,) = re.findall(r"tokens/new(\?like=[^\"]+)", at_work.get(other).text)
    machine.token(api_client)
    own = revoke_addresses(at_work.get(f"{manage}/tokens"))[0].split("/")[-2]

    for like in (link, f"?like={own}", "?like=x", "?like=%00", "?like=", f"{link}0"):
        form = form_of(at_work.get(f"{manage}/tokens/new{like}"))
        assert (form["name"], form["lasts"]) == ("", str(YEAR)), like


def test_the_form_says_who_is_warned(app, at_work, manage):
    nobody = "We cannot send mail, so nobody is warned before tokens expire. Ask your operator."
    assert nobody in words_of(at_work.get(f"{manage}/tokens/new"))
    assert nobody in words_of(at_work.get(CLIENTS))
    app.config["SMTP_URL"] = "smtp://127.0.0.1:9"
    assert nobody not in words_of(at_work.get(CLIENTS))
    assert "We mail your admins 30 days, 7 days and 1 day before" in words_of(at_work.get(f"{manage}/tokens/new"))

    submit(at_work, f"{manage}/edit", owner="ana@acme.example")

    assert "We mail ana@acme.example 30 days" in words_of(at_work.get(f"{manage}/tokens/new"))


def test_a_tenants_own_maximum_caps_what_may_be_chosen(world, at_work, manage, tenant, rows):
    def cap(seconds):
        def change():
            acme = tenants.find_by_slug("acme")
            assert acme is not None
            tenants.change_setting(acme, "token_lifetime_max", str(seconds))

        world.run(change)

    cap(100 * 86_400)
    form = at_work.get(f"{manage}/tokens/new")
    assert ("90 days" in form.text, "180 days" in form.text, "1 year" in form.text) == (True, False, False)
    assert form_of(form)["lasts"] == str(90 * 86_400)
    assert submit(at_work, f"{manage}/tokens/new", name="x", lasts=str(YEAR)).status_code == 422

    cap(3600)
    assert form_of(at_work.get(f"{manage}/tokens/new"))["lasts"] == "3600"
    assert rows() == (1, 0)


def test_a_clients_own_maximum_caps_what_may_be_chosen(world, tenant, at_work):
    secret = rules.generate_secret().stored
    client = world.run(
        lambda: registry.create_api_client(
            tenant.id, name="Till", client_id="till-1", secret=secret, created_by="Ana", now=now(), token_lifetime=7200
        )
    )

    form = at_work.get(f"{manage_page(client.id)}/tokens/new")

    assert form_of(form)["lasts"] == "7200"
    assert "1 year" not in form.text


def test_a_token_needs_a_name_and_a_lifetime_that_was_offered(at_work, manage, rows):
    for typed, message in [
        ({"name": ""}, "Enter a name."),
        ({"name": "x" * 81}, "Use 80 characters or fewer."),
        ({"name": "x", "lasts": "99999999999"}, "Choose how long the token lasts."),
        ({"name": "x", "lasts": "a year"}, "Choose how long the token lasts."),
    ]:
        page = submit(at_work, f"{manage}/tokens/new", **typed)

        assert page.status_code == 422
        assert page.text.count(message) == 2
    assert rows() == (1, 0)


def test_a_client_that_is_turned_off_gets_no_token(at_work, manage, rows):
    form = {**form_of(at_work.get(f"{manage}/tokens/new")), "name": "Finance report"}
    at_work.get(manage)
    at_work.post(f"{manage}/turn-off")

    assert "Turn the client on first." in at_work.get(f"{manage}/tokens/new").text
    assert at_work.post(f"{manage}/tokens/new", form).status_code == 409
    assert rows() == (1, 0)


def test_the_manage_page_lists_a_token_with_who_made_it(at_work, manage, generated):
    text = at_work.get(manage).text

    assert "Finance report" in text
    assert f"{generated[:9]}...{generated[-4:]}" in text
    assert "Ana Ruiz" in text


def test_revoking_one_token_leaves_the_others(at_work, manage, machine, generated, audited):
    other = copyable(submit(at_work, f"{manage}/tokens/new", name="Test"))[0]
    newest_first = revoke_addresses(at_work.get(manage))
    address = next(a for a in newest_first if "“Finance report”" in at_work.get(a).text)

    page = submit(at_work, address)

    assert page.headers["Location"] == manage
    assert "“Finance report” is revoked." in at_work.get(manage).text
    assert (machine.works(generated), machine.works(other)) == (False, True)
    assert ("token.revoked", f"“Finance report”, {generated[:9]}...{generated[-4:]}.") in audited()
    assert at_work.get(address).status_code == 404


def test_tokens_the_program_made_are_counted_listed_and_each_revocable(
    at_work, manage, machine, api_client, generated, audited
):
    made = [machine.token(api_client) for _ in range(2)]

    assert "+ 2 tokens the program made itself (live 1 year each)." in at_work.get(manage).text
    address = revoke_addresses(at_work.get(f"{manage}/tokens"))[0]
    submit(at_work, address)

    assert sorted(machine.works(token) for token in made) == [False, True]
    assert machine.works(generated)
    assert any(note.endswith(", made by the program itself.") for _event, note in audited())
    assert "+ 1 token the program made itself (live 1 year each)." in at_work.get(manage).text


def test_an_address_that_names_no_live_token_of_this_client_is_not_found(world, at_work, manage, tenant, generated):
    address = revoke_addresses(at_work.get(manage))[0]
    ref = address.split("/")[-2]
    month, digest = ref.split("-")
    elsewhere = world.client(tenant, name="Other").pk
    references = [
        f"0{month}-{digest}",
        f"{month}-{digest.upper()}",
        f"{month}-{digest}0",
        f"-{month}-{digest}",
        f"99999-{digest}",
        f"{int(month) + 1}-{digest}",
        f"{month}-{'0' * 64}",
        f"{month}{digest}",
        f"{month}-{digest}%0a",
        "new",
    ]

    assert at_work.get(address).status_code == 200
    for reference in references:
        assert at_work.get(f"{manage}/tokens/{reference}/revoke").status_code == 404, reference
    assert at_work.get(f"{manage_page(elsewhere)}/tokens/{ref}/revoke").status_code == 404


def test_revoke_all_says_what_stops_and_ends_the_programs_tokens_too(
    at_work, manage, machine, api_client, generated, audited
):
    made = machine.token(api_client)

    confirm = at_work.get(f"{manage}/revoke-all")
    assert "2 tokens stop working within 1 second." in confirm.text
    assert "Finance report" in confirm.text
    assert machine.works(made)
    submit(at_work, f"{manage}/revoke-all")

    assert not machine.works(made)
    assert not machine.works(generated)
    assert machine.works(machine.token(api_client)), "the client itself goes on"
    assert ("client.tokens_revoked", "2 tokens revoked.") in audited()


def test_revoking_all_leaves_other_clients_alone(world, at_work, tenant, machine, api_client):
    other = world.client(tenant, name="Other")
    token = machine.token(other)
    machine.token(api_client)

    submit(at_work, f"{manage_page(api_client.pk)}/revoke-all")

    assert machine.works(token)


def test_revoking_all_twice_is_no_error(at_work, manage, generated):
    form = form_of(at_work.get(f"{manage}/revoke-all"))
    at_work.post(f"{manage}/revoke-all", form)

    assert at_work.post(f"{manage}/revoke-all", form).status_code == 303
    assert "0 tokens revoked." in at_work.get(manage).text
    assert "No tokens to revoke." in at_work.get(f"{manage}/revoke-all").text


def test_many_tokens_come_in_pages(world, at_work, tenant, manage, api_client):
    def make(count, made_by):
        registered = registry.find_registered_client(tenant.id, api_client.client_id, now())
        assert registered is not None
        for number in range(count):
            token = store.new_token(now() + 3600)
            store.save_client_token(
                registered, token, scope="", now=now() - number, name=f"Token {number:02}", made_by=made_by
            )

    world.run(lambda: make(51, "Ana Ruiz"))
    world.run(lambda: make(51, None))

    for address in (manage, f"{manage}/tokens"):
        first = at_work.get(address)
        (after,) = re.findall(r"after=([0-9a-f-]+)", first.text)
        second = at_work.get(f"{address}?after={after}").text
        assert len(revoke_addresses(first)) == 50
        assert "Token 50" not in first.text
        assert "Token 50" in second
        assert "Token 49" not in second
        assert ("after=" in second, "First page" in second, "First page" in first.text) == (False, True, False)
        assert "There is nothing on this page." in at_work.get(f"{address}?after=1-{'0' * 64}").text
        for tampered in ("0", "-1", "x", f"{after}0", after.upper(), "9" * 20 + after[10:], "%00", f"{after}%0a"):
            assert "Token 00" in at_work.get(f"{address}?after={tampered}").text, tampered


def test_the_list_counts_live_tokens(at_work, machine, api_client, generated):
    machine.token(api_client)

    assert "2 active" in at_work.get(CLIENTS).text


def test_a_token_is_worth_nothing_at_another_tenant(at_work, other_tenant, generated, app):
    assert not Machine(app, other_tenant).works(generated)

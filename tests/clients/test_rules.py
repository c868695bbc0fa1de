"""What a client may be called and hold: IDs, secrets, names."""

from __future__ import annotations

import pytest

from app import credentials
from app.clients import rules
from app.clients.rules import ClientError
from app.credentials import ARGON2ID, SHA256

GOOD_SECRET = "our-own-Secret_2026.for~BI"


class TestIds:
    @pytest.mark.parametrize("client_id", ["abc", "a.b_c~d-e", "A" * 64, "123", "...", "c_x", "App1", "apps_x", "~~~"])
    def test_an_id_that_every_tool_can_carry_is_fine(self, client_id):
        assert rules.check_client_id(client_id) == client_id

    @pytest.mark.parametrize(
        "client_id",
        [
            "", "a", "ab", "a" * 65, "a" * 10_000, "a b c", "abc ", " abc", "abc\n", "abc\0", "a:b:c",
            "a/b/c", "äbc", "ａbc",
            "a%20b", "a+b", "a&b", "a=b", "<b>", "a\u200bb", "٣٣٣",
        ],
    )  # fmt: skip
    def test_every_other_is_refused(self, client_id):
        with pytest.raises(ClientError) as refused:
            rules.check_client_id(client_id)
        assert refused.value.field == "client_id"

    @pytest.mark.parametrize("client_id", ["app_x", "APP_x", "App_", "app_" + "a" * 20])
    def test_the_ids_of_apps_are_kept(self, client_id):
        with pytest.raises(ClientError, match="kept for apps"):
            rules.check_client_id(client_id)

    def test_generated_ids_are_fine_and_differ(self):
        ids = {rules.check_client_id(credentials.new_client_id()) for _ in range(100)}
        assert len(ids) == 100


class TestLinks:
    @pytest.mark.parametrize(
        "link",
        [
            "", "https://field.example", "https://field.example/", "https://field.example:8443/privacy?lang=en#top",
            "https://xn--fld-1la.example/@field/a*b", "https://[2001:db8::1]/terms", "https://192.0.2.7/",
            "http://127.0.0.1:8000/privacy", "http://[::1]/", "http://localhost", "http://localhost:3000?x",
            "https://field.example/" + "a" * 478,
        ],
    )  # fmt: skip
    def test_an_absolute_https_address_or_one_of_this_machine_is_fine(self, link):
        assert rules.check_link("privacy", link) == link

    @pytest.mark.parametrize(
        "link,said",
        [
            ("http://field.example/", "must be an address that starts with https://"),
            ("http://localhost.field.example/", "must be an address that starts with https://"),
            ("http://127.0.0.1.field.example/", "must be an address that starts with https://"),
            ("//field.example/", "must be an address that starts with https://"),
            ("/privacy", "must be an address that starts with https://"),
            ("field.example", "must be an address that starts with https://"),
            ("https:field.example", "must be an address that starts with https://"),
            ("https:///privacy", "must be an address that starts with https://"),
            ("https://%66ield.example/", "must be an address that starts with https://"),
            ("javascript:alert(1)", "must be an address that starts with https://"),
            ("javascript://field.example/%0aalert(1)", "must be an address that starts with https://"),
            ("data:text/html,x", "must be an address that starts with https://"),
            ("https://field.example@other.example/", "must not hold a user name"),
            ("https://user:word@field.example/", "must not hold a user name"),
            ("http://127.0.0.1@other.example/", "must not hold a user name"),
            ("https://other.example\\@field.example/", "has characters"),
            ("https://field.example/a b", "has characters"),
            (" https://field.example/", "has characters"),
            ("https://field.example/\n", "has characters"),
            ('https://field.example/"onclick="x', "has characters"),
            ("https://f\u00ebld.example/", "has characters"),
            ("https://[::1/", "is not an address"),
            ("https://field.example:99999/", "is not an address"),
            ("https://field.example:0/", "has no usable port"),
            ("https://field.example/" + "a" * 479, "has at most 500 characters"),
        ],
    )
    def test_no_other_is_shown_to_people(self, link, said):
        with pytest.raises(ClientError, match=said) as refused:
            rules.check_link("terms", link)
        assert refused.value.field == "terms"
        assert "--terms" in str(refused.value)


class TestSecrets:
    def test_a_generated_one_is_digested_fast_and_a_typed_one_slowly(self):
        assert rules.generate_secret().stored.algorithm == SHA256
        offered = rules.check_secret(credentials.new_client_secret(), "abc")
        assert offered.stored.algorithm == SHA256
        typed = rules.check_secret(GOOD_SECRET, "abc")
        assert typed.stored.algorithm == ARGON2ID
        assert GOOD_SECRET not in typed.stored.value

    def test_one_that_only_looks_generated_is_hashed_slowly(self):
        text = credentials.new_client_secret()
        changed = text[:-1] + ("0" if text[-1] != "0" else "1")

        assert rules.check_secret(changed, "abc").stored.algorithm == ARGON2ID

    @pytest.mark.parametrize(
        "secret",
        [
            "", "short", "a" * 19, "Ab1" * 43, "has space in the middle x", GOOD_SECRET + "\n",
            GOOD_SECRET + "é",
            GOOD_SECRET + "\0", GOOD_SECRET + ":", GOOD_SECRET + "+", GOOD_SECRET + "%20", "a" * 10_000,
        ],
    )  # fmt: skip
    def test_one_that_tools_cannot_carry_is_refused(self, secret):
        with pytest.raises(ClientError) as refused:
            rules.check_secret(secret, "abc")
        assert refused.value.field == "secret"

    @pytest.mark.parametrize(
        "secret",
        [
            "a" * 20, "ab" * 10, "abc" * 7, "abcdefg" * 3, "12345678" * 3, "aabbaabbaabbaabbaabb",
            "password-123-2026-----",
            "PASSWORD-------------1", "Client-Secret-2026-2026", "change.me.123.456.789.0",
            "qwerty-1234567890-0987",
        ],
    )  # fmt: skip
    def test_one_that_is_easy_to_guess_is_refused(self, secret):
        with pytest.raises(ClientError, match="easy to guess"):
            rules.check_secret(secret, "abc")

    def test_the_id_is_no_secret(self):
        with pytest.raises(ClientError, match="differ from the ID"):
            rules.check_secret(GOOD_SECRET, GOOD_SECRET)

    def test_operators_may_move_short_ones_in(self):
        assert rules.check_secret("x7-Kq_2p", "abc", moved_in=True)
        with pytest.raises(ClientError):
            rules.check_secret("x7-Kq_2", "abc", moved_in=True)

    def test_operators_may_move_easy_ones_in(self):
        assert rules.check_secret("MY_SECRET", "MY_CLIENT", moved_in=True)
        with pytest.raises(ClientError, match="differ from the ID"):
            rules.check_secret("MY_CLIENT", "MY_CLIENT", moved_in=True)


class TestNames:
    def test_spaces_are_tidied(self):
        assert rules.check_name("  Power \t BI ") == "Power BI"

    @pytest.mark.parametrize("name", ["", "  ", "a" * 81, "a\x00b", "a\u202eb", "a\x1bb"])
    def test_a_name_that_cannot_be_shown_is_refused(self, name):
        with pytest.raises(ClientError) as refused:
            rules.check_name(name)
        assert refused.value.field == "name"

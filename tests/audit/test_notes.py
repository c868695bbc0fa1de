"""Notes of the audit log: English where they are kept and exported, the reader's language on pages."""

from __future__ import annotations

import ast
import csv
import io
from pathlib import Path

import pytest
from sqlalchemy import update

from app.audit import log, notes
from app.audit.log import OPERATOR, Target
from app.audit.models import AuditEvent
from app.extensions import db
from app.languages import writing

APP = Path(__file__).parents[2] / "app"
LOG = "/settings/audit-log"
GERMAN = {"Accept-Language": "de"}


@pytest.fixture
def ana(browser, admin):
    browser.sign_in(admin)
    return browser


@pytest.fixture
def record(world, tenant):
    def record_it(note):
        target = Target("tenant", tenant.slug, tenant.id)
        world.run(lambda: log.record(tenant.id, "tenant.changed", OPERATOR, target, note))

    return record_it


def used_keys():
    for path in APP.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"notes.note", "note"} and node.args:
                yield from (
                    part.value
                    for part in ast.walk(node.args[0])
                    if isinstance(part, ast.Constant) and isinstance(part.value, str)
                )


def test_every_note_that_is_written_has_a_text_and_no_text_is_left_over():
    assert set(used_keys()) == set(notes._TEXTS)


def test_a_note_is_read_in_the_language_of_the_reader(ana, record):
    record(notes.note("token_issued", name="A<b>", hint="kpa1...9", day=notes.day(1_800_000_000)))

    assert "<span>„A&lt;b&gt;“, kpa1...9, gilt bis 15. Januar 2027.</span>" in ana.get(LOG, headers=GERMAN).text
    assert "<span>“A&lt;b&gt;”, kpa1...9, works until 15 January 2027.</span>" in ana.get(LOG).text


def test_changes_and_counts_are_worded_too(ana, record):
    before = {"Name": "old", "Looked after by": notes.word("nobody"), "Description": "x", "Scopes": "a"}
    after = {"Name": "new", "Looked after by": "bo@acme.example", "Description": "y", "Scopes": "a"}
    record(notes.changed_from_to(before, after, without_values=("Description",)))
    record(notes.note("tokens_revoked", tokens=notes.tokens(1, is_all=True)))
    record(notes.note("tokens_revoked", tokens=notes.tokens(10_000, is_all=False)))
    record(notes.note("changed", what=[notes.word("keys"), notes.word("networks")]))

    german, english = ana.get(LOG, headers=GERMAN).text, ana.get(LOG).text
    assert "Name: old -&gt; new; Betreut von: niemand -&gt; bo@acme.example; Beschreibung<" in german
    assert "Name: old -&gt; new; Looked after by: nobody -&gt; bo@acme.example; Description<" in english
    assert "1 token revoked." in english
    assert "10,000 or more tokens revoked." in english
    assert "Geändert: Schlüssel, Netze." in german


@pytest.mark.parametrize("wording", [None, "", "x", "[]", '["gone", {}]', '["token", {}]', '{"a": 1}', '["role", 1]'])
def test_what_cannot_be_worded_is_shown_in_english(ana, world, tenant, record, wording):
    record(notes.note("again"))
    mine = update(AuditEvent).where(AuditEvent.tenant_id == tenant.id, AuditEvent.note == "Again.")
    world.run(lambda: db.session.execute(mine.values(wording=wording)))

    assert '<span lang="en">Again.</span>' in ana.get(LOG, headers=GERMAN).text


def test_names_and_values_are_what_they_are(ana, record):
    record("Power BI")

    assert '<span lang="en">Power BI</span>' in ana.get(LOG, headers=GERMAN).text


def test_what_is_kept_exported_and_printed_is_english_whoever_wrote_and_reads_it(ana, app, shell, record):
    with app.test_request_context(headers=GERMAN), writing("de"):
        english = notes.note("for_a_device_with", scope=notes.word("everything")).in_english()
        assert str(notes.note("for_a_device")) == "Für ein Gerät."
    assert english == "For a device: everything."
    record(notes.note("for_a_device_with", scope=notes.word("everything")))

    exported = list(csv.DictReader(io.StringIO(ana.get(f"{LOG}/export.csv", headers=GERMAN).text)))
    assert english in [row["note"] for row in exported]
    assert english in [event["note"] for event in ana.get(f"{LOG}/export.json", headers=GERMAN).json]
    assert english in [event["note"] for event in shell.json("audit", "list", "--tenant", "acme")]

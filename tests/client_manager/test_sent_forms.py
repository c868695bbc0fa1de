"""Which forms were sent before: kept in the session, few and small."""

from __future__ import annotations

import json
from typing import Any

from app.client_manager import sent_forms


def test_a_form_is_known_once_it_was_answered():
    session: dict[str, Any] = {}
    form_id = sent_forms.new_form_id()

    assert not sent_forms.was_sent(session, form_id)
    sent_forms.remember(session, form_id)

    assert sent_forms.was_sent(session, form_id)
    assert not sent_forms.was_sent(session, sent_forms.new_form_id())


def test_what_is_kept_stays_far_below_the_size_of_a_cookie():
    session: dict[str, Any] = {}
    form_ids = [sent_forms.new_form_id() for _ in range(30)]
    for form_id in form_ids:
        sent_forms.remember(session, form_id)

    assert len(json.dumps(session)) < 1000
    assert [sent_forms.was_sent(session, form_id) for form_id in form_ids] == [False] * 10 + [True] * 20


def test_the_session_is_told_that_it_changed():
    """Flask saves a session whose keys were set; a list that grew in place would be lost."""
    marks: list[str] = []
    session = {"sent_forms": marks}

    sent_forms.remember(session, sent_forms.new_form_id())

    assert session["sent_forms"] is not marks

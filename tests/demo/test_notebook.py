"""The demo's notebook: what it made once it knows again, and nobody else may read it."""

from __future__ import annotations

import stat

import pytest

from app.demo.notebook import FILE_NAME, Notebook, NotebookError


def test_a_note_is_the_same_the_next_time(tmp_path):
    notebook = Notebook(tmp_path)
    notebook.keep("password", lambda: "first")
    notebook.save()

    assert Notebook(tmp_path).keep("password", lambda: "second") == "first"


def test_nobody_else_may_read_the_file(tmp_path):
    notebook = Notebook(tmp_path / "instance")
    notebook.keep("password", lambda: "secret")

    notebook.save()

    assert stat.S_IMODE((tmp_path / "instance" / FILE_NAME).stat().st_mode) == 0o600


def test_a_draft_that_an_interrupted_start_left_is_no_obstacle(tmp_path):
    (tmp_path / FILE_NAME).with_suffix(".new").write_text("{")
    notebook = Notebook(tmp_path)
    notebook.note("password", "secret")

    notebook.save()

    assert Notebook(tmp_path).find("password") == "secret"


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"password": 1}', b"\xff"])
def test_a_file_that_the_demo_did_not_write_is_left_alone(tmp_path, content):
    (tmp_path / FILE_NAME).write_bytes(content)

    with pytest.raises(NotebookError, match="another folder"):
        Notebook(tmp_path)

    assert (tmp_path / FILE_NAME).read_bytes() == content

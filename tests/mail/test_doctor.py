"""What `flask doctor` and the pages say of mail."""

from __future__ import annotations

import json

from app.mail import smtp
from tests.databases import close, make_app
from tests.shell import Shell


def mail_of(shell: Shell) -> tuple[str, str]:
    report = json.loads(shell.run("doctor", "--json").stdout)
    return next((found["status"], found["message"]) for found in report["checks"] if found["check"] == "mail")


def test_a_server_that_answers_is_sound(shell):
    assert mail_of(shell) == ("ok", "the server answers")


def test_one_that_does_not_is_a_problem(shell, post_office, monkeypatch):
    monkeypatch.setattr(smtp, "ANSWER_SECONDS", 0.5)
    post_office.close()

    status, message = mail_of(shell)
    assert status == "problem"
    assert message == "No mail is sent: the server does not answer (ConnectionRefusedError). Check SMTP_URL."
    assert shell.run("doctor").exit_code == 1


def test_without_one_it_says_what_that_means(database_url):
    app = make_app(database_url)

    status, message = mail_of(Shell(app))
    assert status == "warning"
    assert message == "We cannot send mail, so nobody is warned before tokens expire. Set SMTP_URL."
    close(app)

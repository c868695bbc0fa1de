"""A real SMTP server on loopback, and an application whose mails go there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask

from tests.databases import close, make_app
from tests.mail.post_office import PostOffice
from tests.world import World

SENDER = "Keyporter <no-reply@keyporter.example>"


@pytest.fixture
def post_office() -> Iterator[PostOffice]:
    office = PostOffice()
    office.open()
    yield office
    office.close()


@pytest.fixture
def app(database_url: str, post_office: PostOffice) -> Iterator[Flask]:
    app = make_app(database_url, SMTP_URL=post_office.url, MAIL_FROM=SENDER)
    yield app
    close(app)


@pytest.fixture
def world(app: Flask) -> World:
    return World(app)

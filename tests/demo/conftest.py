"""A server as `flask demo` leaves it: its data made, the sample app and the sample API on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask

from app.demo import data, sample_app
from app.demo.data import DemoData
from app.demo.notebook import Notebook
from app.extensions import db
from tests.databases import close, make_app
from tests.world import now

PORT = 8000


@pytest.fixture
def make_data(app: Flask, tmp_path: Path) -> Callable[[], DemoData]:
    """What `flask demo` does before it serves."""

    def make() -> DemoData:
        with app.app_context():
            notebook = Notebook(tmp_path)
            made = data.make(notebook, sample_app.callback(PORT), now())
            sample_app.prepare(notebook)
            notebook.save()
            db.session.commit()
            return made

    return make


@pytest.fixture
def demo_data(make_data: Callable[[], DemoData]) -> DemoData:
    return make_data()


@pytest.fixture
def demo_app(demo_data: DemoData, database_url: str, tmp_path: Path) -> Iterator[Flask]:
    app = make_app(database_url, DEMO=True, INSTANCE_PATH=str(tmp_path), PORT=PORT)
    yield app
    close(app)

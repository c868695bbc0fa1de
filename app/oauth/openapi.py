"""The OpenAPI document of the machine endpoints, for programs that make clients and tests of it.

openapi.json is kept by hand; tests/conformance/test_openapi.py holds it against
the routes, and the answers of a running server against it.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from app.tenants.registry import TenantSettings


def describe(tenant: TenantSettings) -> dict[str, Any]:
    """The document as ``tenant`` serves it: OpenAPI 3.1, with the tenant's canonical address as its one server."""
    return load_document() | {"servers": [{"url": tenant.base_url}]}


@functools.cache
def load_document() -> dict[str, Any]:
    """The document as it stands in the file; not to be changed."""
    text = Path(__file__).with_name("openapi.json").read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text)
    return document

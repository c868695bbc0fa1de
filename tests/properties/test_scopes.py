"""Scopes: nobody gets one that was not asked for, and rights only shrink (RFC 6749 sections 3.3 and 6)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.world import Browser, Machine

OFFERED = ["read", "write", "delete", "reports:read"]
ALLOWED = OFFERED[:3]

names = st.sampled_from([*OFFERED, "admin", "READ", "reports", "read,write"])
separators = st.sampled_from([" ", "  "])
#: Each example is a request or more: fewer of them.
few = settings(max_examples=max(20, settings.default.max_examples // 10))


@pytest.fixture
def engine() -> str:
    """What is granted does not depend on the database."""
    return "sqlite"


@pytest.fixture
def tenant(world):
    return world.tenant("acme", name="Acme", scope=" ".join(OFFERED))


@st.composite
def scope_texts(draw) -> str:
    return draw(separators).join(draw(st.lists(names, min_size=1, max_size=5)))


@pytest.fixture
def limited(world, tenant):
    return world.client(tenant, scope=" ".join(ALLOWED))


@few
@given(scope=scope_texts())
def test_a_client_gets_exactly_what_it_asks_for_or_nothing(machine, limited, scope):
    response = machine.request_token(limited, scope=scope)

    if set(scope.split()) <= set(ALLOWED):
        assert response.status_code == 200
        assert sorted(response.json["scope"].split()) == sorted(set(scope.split()))
        granted = machine.introspect(limited, response.json["access_token"]).json["scope"]
        assert set(granted.split()) == set(scope.split())
    else:
        assert (response.status_code, response.json["error"]) == (400, "invalid_scope")


@few
@given(
    first=st.sets(st.sampled_from(OFFERED), min_size=1),
    asked=st.lists(st.none() | st.sets(names, min_size=1), max_size=4),
)
def test_no_chain_of_refreshes_ends_with_more_than_it_began_with(app, world, tenant, first, asked):
    field_app = world.oauth_app(tenant, refresh_tokens=True)
    machine, browser = Machine(app, tenant), Browser(app, tenant)
    browser.sign_in(world.user(tenant, f"bo{field_app.id}@acme.example"))
    answer = machine.redeem(field_app, browser.get_code(field_app, scope=" ".join(sorted(first)))).json
    for scope in asked:
        response = machine.refresh(field_app, answer["refresh_token"], scope=None if scope is None else " ".join(scope))
        if scope is not None and not scope <= first:
            assert (response.status_code, response.json["error"]) == (400, "invalid_scope")
            continue
        answer = response.json
        granted = set(machine.introspect(field_app, answer["access_token"]).json["scope"].split())
        assert granted == (first if scope is None else scope)

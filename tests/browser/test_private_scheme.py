"""In a real browser the answer leaves for an app on the device, through the page's own Content-Security-Policy."""

from __future__ import annotations

import pytest

from app.extensions import db
from app.tokens.models import AuthorizationCode
from tests.server import wait_until
from tests.world import authorize_address, pkce_pair

pytestmark = [pytest.mark.browser, pytest.mark.server]


@pytest.fixture
def has_script():
    return True


@pytest.mark.parametrize("scheme", ["com.example.field", "org.example-app.x1"])
def test_the_answer_leaves_for_an_app_on_the_device(served_world, site, visit, scheme):
    app = served_world.oauth_app(site, name="Field iOS", public=True, redirect_uris=[f"{scheme}:/oauth"])
    challenge = {"code_challenge": pkce_pair()[1], "code_challenge_method": "S256"}
    visitor = visit()
    asked: list[str] = []
    visitor.page.on("request", lambda request: asked.append(request.url))
    visitor.open(authorize_address(app, state="xyz", **challenge))
    visitor.sign_in(served_world.user(site))
    assert visitor.heading() == "Let Field iOS use your Acme account?"

    visitor.press("Allow")

    wait_until(
        lambda: any(url.startswith(f"{scheme}:/oauth?code=") for url in asked), "the browser follows the redirect"
    )
    [answer] = [url for url in asked if url.startswith(scheme)]
    assert "state=xyz" in answer
    mine = db.select(db.func.count()).where(AuthorizationCode.tenant_id == site.id)
    assert served_world.run(lambda: db.session.scalar(mine)) == 1

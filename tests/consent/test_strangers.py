"""What somebody who is not signed in learns from an authorize link."""

from __future__ import annotations


def test_the_name_of_an_api_client_is_for_admins(world, tenant, browser):
    client = world.client(tenant, "payroll", name="Payroll of the board")

    page = browser.get("/oauth2/authorize?response_type=code&client_id=payroll")

    assert page.status_code == 400
    assert "We cannot open the app" in page.text
    assert "This is an API client" in page.text
    assert "Payroll of the board" not in page.text
    assert client.secret not in page.text

"""A person whom a client's program sends to the server: signs in when asked, allows, and follows to the end."""

from __future__ import annotations

from urllib.parse import urlsplit

from tests.world import Browser, Server, UserHandle


class Person:
    """Someone with an account at one tenant, and a browser to reach it."""

    def __init__(self, server: Server, user: UserHandle) -> None:
        self.user = user
        self.browser = Browser(server, user.tenant)
        #: How often the password was asked for.
        self.sign_ins = 0

    def visit(self, address: str) -> str:
        """Open what a program asks to have opened, say yes, and return where the browser then goes."""
        path = self._of_this_tenant(address)
        page = self.browser.get(path)
        if page.status_code == 303 and page.headers["Location"].startswith("/login?"):
            self.sign_ins += 1
            sign_in = page.headers["Location"]
            self.browser.get(sign_in)
            page = self.browser.post(sign_in, {"email": self.user.email, "password": self.user.password})
            path = self._of_this_tenant(page.headers["Location"])
            page = self.browser.get(path)
        if path.startswith("/device?"):
            return self._connect_device(path)
        if page.status_code == 200:
            page = self.browser.post(path, {"decision": "allow"})
        assert page.status_code == 303, page.text
        return str(page.headers["Location"])

    def _connect_device(self, path: str) -> str:
        """RFC 8628 section 3.3: look at the code that is filled in, send it, and allow."""
        shown = path.partition("user_code=")[2]
        assert shown in self.browser.page.text
        question = self.browser.post("/device", {"user_code": shown})
        assert shown in question.text
        answer = self.browser.post("/device/answer", {"user_code": shown, "decision": "allow"})
        assert answer.status_code == 200, answer.text
        return f"{self.user.tenant.url}/device/answer"

    def _of_this_tenant(self, address: str) -> str:
        parts = urlsplit(address)
        assert f"{parts.scheme}://{parts.netloc}" in {self.user.tenant.url, "://"}, address
        return f"{parts.path}?{parts.query}"

"""Somebody with a browser that runs no scripts: signs in, allows what is asked, and stops where the app begins."""

import os
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import requests

ISSUER = os.environ["ISSUER"]
# They stay signed in from one call to the next, as people do.
BROWSER = requests.Session()
BROWSER.trust_env = False
BROWSER.headers["accept"] = "text/html"


class Form(HTMLParser):
    """The form of a page's main part, as it stands."""

    def __init__(self, page):
        super().__init__()
        self.action, self.fields, self.inside = None, {}, None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "main":
            self.inside = False
        elif tag == "form" and self.inside is False:
            self.inside, self.action = True, attrs["action"]
        elif tag == "input" and self.inside and "name" in attrs:
            if attrs.get("type") not in ("checkbox", "radio") or "checked" in attrs:
                self.fields.setdefault(attrs["name"], []).append(attrs.get("value", ""))

    def handle_endtag(self, tag):
        if tag == "form" and self.inside:
            self.inside = None


def person(start):
    """Go to an address that asks for a code; answers the address the app is called back at."""
    answer = BROWSER.get(start, allow_redirects=False)
    for _ in range(12):
        if "location" in answer.headers:
            assert answer.status_code == 303, answer.status_code
            url = urljoin(answer.url, answer.headers["location"])
            if urlsplit(url).netloc != urlsplit(ISSUER).netloc:
                return url
            answer = BROWSER.get(url, allow_redirects=False)
            continue
        assert answer.status_code == 200, answer.text
        form, path = Form(answer.text), urlsplit(answer.url).path
        if path == "/oauth/login":
            form.fields.update(username=os.environ["ACCOUNT"], password=os.environ["PASSWORD"])
        else:
            assert path == "/oauth/approve", answer.text
            form.fields["action"] = "allow"
        answer = BROWSER.post(
            urljoin(answer.url, form.action), form.fields, headers={"origin": ISSUER}, allow_redirects=False
        )
    raise AssertionError(f"it leads in circles: {answer.url}")

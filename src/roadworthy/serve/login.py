"""Pages in a browser where keys are asked for: the key is typed once and kept in a cookie.

The cookie is out of reach of scripts (`HttpOnly`), is not sent along from other sites
(`SameSite=Strict`), goes over TLS only where there is TLS, and ends with the browser. It is looked
at only in requests that a page of this very address made: other services on other ports of the same
host are the same site.
"""

from __future__ import annotations

import html
import importlib.resources
import re
from collections.abc import Collection
from urllib.parse import parse_qs, urlsplit

from roadworthy.serve.messages import Request, Response
from roadworthy.serve.problems import RequestProblem

COOKIE = "roadworthy_key"
_MAX_FORM = 8192
_VALUE = re.compile(r"[A-Za-z0-9._~+/=-]{1,4096}").fullmatch
_FIRST = "An API key of this service; it is kept until the browser is closed."


def key_of(request: Request) -> str:
    """The key in the cookie; empty where there is none, or another site's page asks."""
    for pair in request.head.headers.get("cookie", "").split(";"):
        name, _, value = pair.strip().partition("=")
        if name == COOKIE and _VALUE(value) and is_own_page(request):
            return value
    return ""


def is_own_page(request: Request) -> bool:
    """Whether the request comes of a page of this address, or of the user's own doing.

    Browsers say so by `Sec-Fetch-Site` (W3C Fetch Metadata); where they do not, because there is no
    TLS, by `Origin`.
    """
    headers = request.head.headers
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")


def wants_page(request: Request) -> bool:
    """Whether a browser asks for something to show."""
    headers = request.head.headers
    return request.head.method == "GET" and "text/html" in headers.get("accept", "")


def login_page(problem: RequestProblem, request: Request, path: str, policy: str) -> Response:
    """The page that asks for a key.

    Args:
        problem: Why the request was refused.
        request: The request.
        path: The address to go to when the key is good.
        policy: The content security policy.
    """
    given = bool(request.head.headers.get("cookie") or request.body)
    shown = {
        # an address relative to the page's, so that a proxy may put the service in a folder
        "ACTION": "../" * (request.head.path.count("/") - 1) + "login",
        "NEXT": path,
        "CLASS": "bad" if given else "soft",
        "MESSAGE": f"{problem.detail[0].upper()}{problem.detail[1:]}." if given else _FIRST,
    }
    page = importlib.resources.files("roadworthy.serve").joinpath("login.html").read_text()
    for name, value in shown.items():
        page = page.replace(f"{{{{{name}}}}}", html.escape(value))
    headers = (
        ("content-security-policy", policy),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
        ("x-request-id", request.id),
        *problem.headers,
    )
    return Response(problem.status, page.encode(), "text/html; charset=utf-8", headers)


def read_form(request: Request, paths: Collection[str]) -> tuple[str, str]:
    """The key and the address to go to.

    Args:
        request: What the page sent.
        paths: The addresses that there are: the form leads nowhere else.

    Raises:
        RequestProblem: It is no such form, or another site's page sent it.
    """
    media = request.head.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/x-www-form-urlencoded" or len(request.body) > _MAX_FORM:
        raise RequestProblem(415, "send the form of the page: one key")
    if not is_own_page(request):
        raise RequestProblem(403, "this form was sent by a page of another site")
    try:
        form = parse_qs(request.body.decode("ascii"), max_num_fields=4)
    except ValueError:
        raise RequestProblem(400, "the form cannot be read") from None
    key, path = form.get("key", [""])[0].strip(), form.get("next", ["/"])[0]
    return (key if _VALUE(key) else ""), path if path in paths else "/"


def kept(key: str, path: str, *, secure: bool) -> Response:
    """Keep a key, or forget it when it is empty, and go to an address."""
    cookie = f"{COOKIE}={key}; Path=/; HttpOnly; SameSite=Strict"
    cookie += ("; Secure" if secure else "") + ("" if key else "; Max-Age=0")
    headers = (
        ("location", path.removeprefix("/") or "./"),
        ("set-cookie", cookie),
        ("cache-control", "no-store"),
    )
    return Response(303, b"", "", headers)

"""Tokens of an issuer whose keys are found by OpenID Connect discovery, over real HTTP."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from roadworthy.project import ServeSection
from roadworthy.serve.problems import RequestProblem
from roadworthy.serve.tokens import Tokens
from tests.conftest import Trained, free_port, serving
from tests.serve.test_guard import Issuer, post
from tests.serve.test_http import wait_for

ABOUT = "/.well-known/openid-configuration"


class Provider:
    """An identity provider that publishes its keys; what it answers may be changed."""

    def __init__(self) -> None:
        self.signer = Issuer()
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                status, headers, content = outer.pages.get(self.path, (404, {}, b""))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.pages: dict[str, tuple[int, dict, bytes]] = {}
        self.publish(self.signer.jwks)

    def publish(self, jwks: object, **about: str) -> None:
        told = {"issuer": self.url, "jwks_uri": f"{self.url}/keys", **about}
        self.pages = {
            ABOUT: (200, {}, json.dumps(told).encode()),
            "/keys": (200, {}, json.dumps(jwks).encode()),
        }

    def token(self, **more: object) -> str:
        return self.signer.token(iss=self.url, **more)

    def options(self) -> ServeSection:
        return ServeSection(oidc=True, jwt_audience="rows", jwt_issuer=self.url)


@pytest.fixture
def provider() -> Iterator[Provider]:
    running = Provider()
    yield running
    running.server.shutdown()
    running.server.server_close()


def test_keys_are_found_and_new_ones_too_and_old_ones_go(
    bundles: dict[str, Trained], tmp_path: Path, provider: Provider
) -> None:
    (tmp_path / "roadworthy.toml").write_text(
        f"[serve]\noidc = true\njwt_audience = 'rows'\njwt_issuer = '{provider.url}'\n"
    )
    with serving(bundles["binary"].bundle.path, cwd=tmp_path) as server:

        def status(token: str) -> int:
            return post(server, Authorization=f"Bearer {token}")[0]

        assert status(provider.token()) == 200
        assert status(provider.token(aud="others")) == 401
        old, provider.signer = provider.signer, Issuer()
        (key,) = provider.signer.jwks["keys"]
        provider.publish({"keys": [{**key, "kid": "k2"}]})
        wait_for(lambda: status(provider.token(kid="k2")) == 200)
        assert status(old.token(iss=provider.url)) == 401
        asked = len(provider.asked)
        for _ in range(200):  # nobody makes us ask the issuer again and again
            assert status(provider.token(kid="unheard-of")) == 401
        assert len(provider.asked) - asked <= 4
        assert post(server, X_API_Key="none")[0] == 401


def test_an_issuer_that_is_away_at_the_start_is_asked_again(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    issuer = f"http://127.0.0.1:{free_port()}"
    (tmp_path / "roadworthy.toml").write_text(
        f"[serve]\noidc = true\njwt_audience = 'rows'\njwt_issuer = '{issuer}'\n"
    )
    with serving(bundles["binary"].bundle.path, cwd=tmp_path) as server:
        token = Issuer().token(iss=issuer)
        status, headers, _ = post(server, Authorization=f"Bearer {token}")
        assert (status, headers["retry-after"]) == (503, "5")
        assert server.get("/readyz")[0] == 200
        assert any("cannot be fetched" in line for line in server.log)


def again(tokens: Tokens) -> None:
    """Fetch at once, as if it were time."""
    tokens._fetched = time.monotonic() - 1000
    tokens.refresh()
    assert tokens._fetching is not None
    tokens._fetching.join(20)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda p: p.publish(p.signer.jwks, issuer="https://evil.example"),
        lambda p: p.publish(p.signer.jwks, jwks_uri="http://192.0.2.1/keys"),
        lambda p: p.publish(p.signer.jwks, jwks_uri="file:///etc/passwd"),
        lambda p: p.publish({"keys": "none"}),
        lambda p: p.publish([]),
        lambda p: p.pages.update({"/keys": (302, {"Location": f"{p.url}/other"}, b"")}),
        lambda p: p.pages.update({"/keys": (500, {}, b"")}),
        lambda p: p.pages.update({"/keys": (200, {}, b" " * 1_000_001)}),
        lambda p: p.pages.update({"/keys": (200, {}, b"\xff")}),
        lambda p: p.pages.update({ABOUT: (200, {}, b"not JSON")}),
        lambda p: p.pages.update({ABOUT: (200, {}, b"[]")}),
    ],
)
def test_where_the_issuer_publishes_nothing_good_its_last_keys_go_on(
    provider: Provider, spoil, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = Tokens(provider.options())
    assert tokens.check(provider.token(sub="me")) == ("token me", ("predict", "read"))
    spoil(provider)
    again(tokens)
    assert "cannot be fetched" in caplog.text
    assert "/other" not in provider.asked
    assert tokens.check(provider.token())[1] == ("predict", "read")
    with pytest.raises(RequestProblem):
        tokens.check(provider.token(exp=1.0))

"""Who may ask: keys, tokens, certificates; health is for everybody."""

from __future__ import annotations

import datetime
import hashlib
import http.client
import json
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from tests.conftest import Server, Trained, free_port, serving
from tests.serve.test_bad_input import ROW, check_problem
from tests.serve.test_http import wait_for

BODY = json.dumps(ROW).encode()
NOW = datetime.datetime.now(datetime.UTC)


def entry(name: str, text: str, **more: object) -> dict:
    return {"name": name, "sha256": hashlib.sha256(text.encode()).hexdigest(), **more}


KEYS = [
    entry("till", "good"),
    entry("scraper", "metrics-only", scopes=["metrics"]),
    entry("gone", "expired", expires=1.0),
    entry("slow", "rated", rate=0.5, burst=2),
]


class Issuer:
    """An identity provider: signs tokens, publishes its key set."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        self.jwks = {"keys": [{**public, "kid": "k1", "alg": "RS256", "use": "sig"}]}

    def token(self, key: object = None, algorithm: str = "RS256", kid: str = "k1", **more) -> str:
        claims = {"iss": "https://id.example", "aud": "rows", "exp": time.time() + 60, **more}
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(claims, key or self.key, algorithm, headers={"kid": kid})

    def public(self) -> bytes:
        return self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture(scope="module")
def locked(
    bundles: dict[str, Trained], tmp_path_factory: pytest.TempPathFactory, issuer: Issuer
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("locked")
    (folder / "keys.json").write_text(json.dumps(KEYS))
    (folder / "jwks.json").write_text(json.dumps(issuer.jwks))
    (folder / "roadworthy.toml").write_text(
        "[serve]\nkeys = 'keys.json'\njwks = 'jwks.json'\njwt_audience = 'rows'\n"
        "jwt_issuer = 'https://id.example'\ncors_origins = ['https://app.example']\n"
    )
    with serving(bundles["binary"].bundle.path, cwd=folder) as running:
        running.folder = folder  # type: ignore[attr-defined]
        yield running


def post(server: Server, path: str = "/predict", **headers: str) -> tuple[int, dict, bytes]:
    return server.request("POST", path, BODY, Content_Type="application/json", **headers)


def test_a_key_opens_what_it_is_good_for(locked: Server) -> None:
    assert post(locked, X_API_Key="good")[0] == 200
    assert post(locked, Authorization="Bearer good")[0] == 200
    assert post(locked, Authorization="bearer good")[0] == 200
    assert locked.request("GET", "/contract", X_API_Key="good")[0] == 200
    check_problem(*locked.request("GET", "/metrics", X_API_Key="good"), 403)
    assert locked.request("GET", "/metrics", X_API_Key="metrics-only")[0] == 200
    check_problem(*post(locked, X_API_Key="metrics-only"), 403)


@pytest.mark.parametrize("headers", [
    {}, {"X_API_Key": ""}, {"X_API_Key": "wrong"}, {"X_API_Key": "good "[:-2]},
    {"X_API_Key": "GOOD"}, {"X_API_Key": "g\u00f6\u00f6d"}, {"X_API_Key": "expired"},
    {"Authorization": "good"}, {"Authorization": "Basic good"}, {"Authorization": "Bearer"},
    {"Authorization": "Bearer a.b.c"}, {"X_API_Key": "x" * 5000},
    {"X_API_Key": hashlib.sha256(b"good").hexdigest()},
])  # fmt: skip
def test_without_a_good_key_nothing_is_answered(locked: Server, headers: dict[str, str]) -> None:
    answer = post(locked, **headers)
    check_problem(*answer, 401)
    assert answer[1]["www-authenticate"].startswith("Bearer")
    assert b"good" not in answer[2].replace(b"good for", b"")


@pytest.mark.parametrize("path", [
    "/predict", "/models/adult/predict", "/invocations", "/score", "/v1/models/adult:predict",
    "/v2/models/adult/infer", "/contract", "/metadata", "/openapi.json", "/docs", "/metrics",
    "/models", "/version", "/shadow",
])  # fmt: skip
def test_everything_but_health_is_locked(locked: Server, path: str) -> None:
    method = "POST" if "predict" in path or "in" in path[-6:] or "score" in path else "GET"
    status = 405
    for method in ("GET", "POST"):
        status = min(status, locked.request(method, path, BODY, Content_Type="application/json")[0])
    assert status == 401


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/startupz", "/ping", "/v2/health/live"])
def test_health_is_open(locked: Server, path: str) -> None:
    assert locked.get(path)[0] == 200


def test_a_token_of_the_issuer_is_taken(locked: Server, issuer: Issuer) -> None:
    assert post(locked, Authorization=f"Bearer {issuer.token()}")[0] == 200
    narrow = issuer.token(scope="metrics")
    assert post(locked, Authorization=f"Bearer {narrow}")[0] == 403
    assert locked.request("GET", "/metrics", Authorization=f"Bearer {narrow}")[0] == 200


def test_no_other_token_is_taken(locked: Server, issuer: Issuer) -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    header = "eyJhbGciOiJub25lIiwia2lkIjoiazEifQ"
    payload = issuer.token().split(".")[1]
    secret = hashlib.sha256(issuer.public()).digest()
    tokens = [
        issuer.token(exp=time.time() - 60), issuer.token(exp=None), issuer.token(aud="others"),
        issuer.token(aud=None), issuer.token(iss="https://evil.example"), issuer.token(iss=None),
        issuer.token(kid="k2"), issuer.token(key=other), issuer.token(nbf=time.time() + 600),
        issuer.token(key=secret, algorithm="HS256"), f"{header}.{payload}.",
        issuer.token(key=ec.generate_private_key(ec.SECP256R1()), algorithm="ES256"),
        issuer.token()[:-6] + "AAAAAA",
    ]  # fmt: skip
    for token in tokens:
        assert post(locked, Authorization=f"Bearer {token}")[0] == 401


def test_a_rate_is_kept_and_says_when_to_come_again(locked: Server) -> None:
    answers = [post(locked, X_API_Key="rated") for _ in range(5)]
    assert [answer[0] for answer in answers[:2]] == [200, 200]
    assert answers[-1][0] == 429
    assert 1 <= int(answers[-1][1]["retry-after"]) <= 3
    assert post(locked, X_API_Key="good")[0] == 200


def test_keys_are_exchanged_without_a_restart(locked: Server) -> None:
    file = locked.folder / "keys.json"  # type: ignore[attr-defined]
    file.write_text(json.dumps([*KEYS, entry("new", "fresh")]))
    wait_for(lambda: post(locked, X_API_Key="fresh")[0] == 200)
    file.write_text("{ not a list")  # a slip leaves the keys as they are
    time.sleep(2.5)
    assert post(locked, X_API_Key="fresh")[0] == 200
    file.write_text(json.dumps(KEYS))
    wait_for(lambda: post(locked, X_API_Key="fresh")[0] == 401)


def test_pages_of_other_origins_may_ask_only_where_told(locked: Server, server: Server) -> None:
    for origin, allowed in (("https://app.example", "https://app.example"), ("https://x.y", None)):
        _, headers, _ = post(locked, X_API_Key="good", Origin=origin)
        assert headers.get("access-control-allow-origin") == allowed
        status, headers, _ = locked.request("OPTIONS", "/predict", Origin=origin)
        assert status == 204
        assert headers.get("access-control-allow-origin") == allowed
    assert "access-control-allow-origin" not in post(server, Origin="https://app.example")[1]
    assert server.request("OPTIONS", "/predict", Origin="https://app.example")[0] == 405


def test_a_new_key_is_shown_once_and_kept_as_a_digest(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    (tmp_path / "roadworthy.toml").write_text("[serve]\nkeys = 'keys.json'\n")
    command = [sys.executable, "-m", "roadworthy", "serve", "--new-key", "till"]
    runs = [
        subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
        for _ in range(2)
    ]
    keys = [run.stdout.strip() for run in runs]
    content = (tmp_path / "keys.json").read_text()
    assert not [key for key in keys if key in content]
    assert (tmp_path / "keys.json").stat().st_mode & 0o077 == 0
    with serving(bundles["binary"].bundle.path, cwd=tmp_path) as server:
        assert [post(server, X_API_Key=key)[0] for key in keys] == [200, 200]
        assert post(server, X_API_Key="other")[0] == 401


@pytest.mark.parametrize(
    ("content", "section"),
    [("{}", "keys = 'keys.json'"), ('[{"name": "a", "sha256": "x"}]', "keys = 'keys.json'"),
     ('[{"name": "a", "key": "x"}]', "keys = 'keys.json'"), ("", "keys = 'none.json'"),
     ("[]", "jwks = 'keys.json'\njwt_audience = 'a'\njwt_issuer = 'b'"),
     ('{"keys": []}', "jwks = 'keys.json'"),
     ("[]", "tls_certificate = 'keys.json'\ntls_key = 'keys.json'"),
     ("[]", "tls_certificate = 'keys.json'")],
)  # fmt: skip
def test_a_server_that_could_not_be_locked_does_not_start(
    bundles: dict[str, Trained], tmp_path: Path, content: str, section: str
) -> None:
    (tmp_path / "keys.json").write_text(content)
    (tmp_path / "roadworthy.toml").write_text(f"[serve]\n{section}\n")
    command = [sys.executable, "-m", "roadworthy", "serve", str(bundles["binary"].bundle.path)]
    run = subprocess.run(
        [*command, "--port", str(free_port())], capture_output=True, text=True, cwd=tmp_path,
        timeout=60,
    )  # fmt: skip
    assert run.returncode == 2
    assert "error:" in run.stderr
    assert "Traceback" not in run.stderr


def certificate(
    folder: Path, name: str, issuer: tuple | None = None, authority: bool = False
) -> tuple:
    """A certificate and its key, written to `NAME.pem` and `NAME.key`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    by, by_key = (issuer[0].subject, issuer[1]) if issuer else (subject, key)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - datetime.timedelta(days=1))
        .not_valid_after(NOW + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(by_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / f"{name}.pem").write_bytes(made.public_bytes(pem))
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / f"{name}.key").write_bytes(secret)
    return made, key


def over_tls(server: Server, folder: Path, path: str, client: str | None) -> tuple[int, int]:
    """Status, and the serial number of the server's certificate."""
    context = ssl.create_default_context(cafile=folder / "authority.pem")
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if client is not None:
        context.load_cert_chain(folder / f"{client}.pem", folder / f"{client}.key")
    connection = http.client.HTTPSConnection("localhost", server.port, timeout=10, context=context)
    try:
        method, body = ("POST", BODY) if path == "/predict" else ("GET", None)
        connection.request(method, path, body, {"Content-Type": "application/json"})
        found = connection.sock.getpeercert(binary_form=True)
        return connection.getresponse().status, x509.load_der_x509_certificate(found).serial_number
    finally:
        connection.close()


def test_tls_with_client_certificates_and_a_new_certificate_while_it_runs(
    bundles: dict[str, Trained], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = certificate(tmp_path, "authority", authority=True)
    stranger = certificate(tmp_path, "stranger", authority=True)
    first, _ = certificate(tmp_path, "server", authority)
    certificate(tmp_path, "till", authority)
    certificate(tmp_path, "intruder", stranger)
    (tmp_path / "roadworthy.toml").write_text(
        "[serve]\ntls_certificate = 'server.pem'\ntls_key = 'server.key'\n"
        "client_ca = 'authority.pem'\n"
    )

    def wait_ready(server: Server) -> None:
        for _ in range(300):
            try:
                assert over_tls(server, tmp_path, "/readyz", None)[0] == 200
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise AssertionError("".join(server.log))

    monkeypatch.setattr(Server, "wait_ready", wait_ready)
    with serving(bundles["binary"].bundle.path, cwd=tmp_path) as server:
        assert over_tls(server, tmp_path, "/predict", "till") == (200, first.serial_number)
        assert over_tls(server, tmp_path, "/predict", None)[0] == 401
        with pytest.raises(OSError, match=r".*"):
            over_tls(server, tmp_path, "/predict", "intruder")
        second, _ = certificate(tmp_path, "server", authority)
        renewed = (200, second.serial_number)
        wait_for(lambda: over_tls(server, tmp_path, "/predict", "till") == renewed)

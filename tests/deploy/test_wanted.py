from __future__ import annotations

import datetime
import tempfile
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from roadworthy.bundle import Bundle
from roadworthy.deploy.deploying import section_of
from roadworthy.deploy.wanted import Release, check_authority, check_certificate, make_release
from roadworthy.errors import InputError, ProjectError, UnfitError
from roadworthy.project import Project, SshSection, load_project
from tests.registry.bundles import make_bundle


def released(folder: Path, project: Project | None = None, **section: object) -> Release:
    bundle = Bundle(make_bundle(folder / "bundles"))
    wanted = SshSection(host="host", **section)  # type: ignore[arg-type]
    return make_release(bundle, project or Project(), wanted, folder, "/var/lib/x/log", Path)


def certificate(folder: Path, days: int = 30, since: int = 60) -> tuple[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "host")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - datetime.timedelta(days=since))
        .not_valid_after(now + datetime.timedelta(days=days)).sign(key, hashes.SHA256())
    )  # fmt: skip
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return str(files[0]), str(files[1])


def test_the_same_bundle_and_settings_are_the_same_release(tmp_path: Path) -> None:
    first, second = released(tmp_path), released(tmp_path)
    assert first.id == second.id
    assert [file.content.sha256 for file in first.files] == [
        file.content.sha256 for file in second.files
    ]


def test_other_settings_or_secrets_are_another_release(tmp_path: Path, monkeypatch) -> None:
    ids = {released(tmp_path).id, released(tmp_path, Project().override("serve", max_rows=7)).id}
    for value in ("one", "two"):
        monkeypatch.setenv("TOKEN", value)
        ids.add(released(tmp_path, secrets=("TOKEN",)).id)
    assert len(ids) == 4


def test_secrets_are_in_nothing_that_is_shown(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("TOKEN", "very-secret-value")
    release = released(tmp_path, secrets=("TOKEN",))
    assert all(b"very-secret" not in b"".join(f.content.parts()) for f in release.files)
    assert b"very-secret-value" in b"".join(release.secrets.parts())


def test_a_secret_without_a_value_is_named(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("NO_SUCH", raising=False)
    with pytest.raises(InputError, match="NO_SUCH"):
        released(tmp_path, secrets=("NO_SUCH",))


@settings(max_examples=25, deadline=None)
@given(st.text(max_size=40))
@example("\x7f")
def test_settings_reach_the_host_as_they_were_written(text: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wanted = Project().override("serve", cors_origins=(text,), max_rows=123)
        release = released(folder, wanted)
        written = next(f for f in release.files if f.name == "roadworthy.toml").content
        (folder / "roadworthy.toml").write_bytes(b"".join(written.parts()))
        found = load_project(folder / "roadworthy.toml", environment={}).serve
        assert (found.cors_origins, found.max_rows) == ((text,), 123)


@pytest.mark.parametrize("key", [{"grpc_port": 9000}, {"client_ca": "ca.pem"}])
def test_what_a_proxy_cannot_give_is_refused(tmp_path: Path, key: dict[str, object]) -> None:
    options = {"tls_certificate": "a", "tls_key": "b"} if "client_ca" in key else {}
    with pytest.raises(InputError, match="behind a proxy"):
        released(tmp_path, Project().override("serve", **key, **options))


def test_a_good_certificate_is_taken(tmp_path: Path) -> None:
    pair = certificate(tmp_path)
    assert check_certificate(SshSection(host="h", tls_certificate=pair[0], tls_key=pair[1]))


def test_an_expired_certificate_and_a_foreign_key_are_refused(tmp_path: Path) -> None:
    chain, key = certificate(tmp_path, days=-3)
    with pytest.raises(InputError, match="expired on"):
        check_certificate(SshSection(host="h", tls_certificate=chain, tls_key=key))
    (tmp_path / "other").mkdir()
    other = certificate(tmp_path / "other")[1]
    with pytest.raises(InputError, match="not the certificate's"):
        check_certificate(SshSection(host="h", tls_certificate=chain, tls_key=other))
    with pytest.raises(InputError, match="not a certificate with its key"):
        check_certificate(SshSection(host="h", tls_certificate=key, tls_key=key))


def test_a_certificate_that_is_not_valid_yet_is_refused(tmp_path: Path) -> None:
    chain, key = certificate(tmp_path, days=30, since=-1)
    with pytest.raises(UnfitError, match="valid only from") as caught:
        check_certificate(SshSection(host="h", tls_certificate=chain, tls_key=key))
    assert (caught.value.exit_code, bool(caught.value.fix)) == (3, True)


def test_the_root_of_an_acme_server_is_a_certificate_that_is_valid(tmp_path: Path) -> None:
    def section(root: str) -> SshSection:
        server = "https://ca.example/directory"
        return SshSection(host="h", domain="a.example", acme_directory=server, acme_root=root)

    chain, key = certificate(tmp_path)
    found = check_authority(section(chain))
    assert found is not None
    assert found.size == Path(chain).stat().st_size
    with pytest.raises(InputError, match="no certificate"):
        check_authority(section(key))
    with pytest.raises(InputError, match="cannot be read"):
        check_authority(section(str(tmp_path / "nowhere")))
    with pytest.raises(UnfitError, match="expired on"):
        check_authority(section(certificate(tmp_path, days=-1)[0]))


ACME = "[deploy.prod]\ntarget = 'ssh'\nhost = 'h'\ndomain = 'a.example'\n"


def write(folder: Path, text: str) -> Path:
    (folder / "roadworthy.toml").write_text(text)
    return folder / "roadworthy.toml"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[deploy.prod]\nhost = 'h'", "deploy.prod.target"),
        ("[deploy.prod]\ntarget = 'moon'", "docker, "),
        ("[deploy.prod]\ntarget = 'ssh'", "host"),
        ("[deploy.prod]\ntarget = 'ssh'\nhots = 'h'", "did you mean 'host'"),
        ("[deploy.prod]\ntarget = 'ssh'\nhost = '-oProxyCommand=id'", "deploy.prod.host"),
        ("[deploy.prod]\ntarget = 'ssh'\nhost = 'h'\nport = 0", "deploy.prod.port"),
        ("[deploy.prod]\ntarget = 'ssh'\nhost = 'h'\nssh_port = 70000", "deploy.prod.ssh_port"),
        ("[deploy.prod]\ntarget = 'ssh'\nhost = 'h'\nkeep = 0", "deploy.prod.keep"),
        ("[deploy.prod]\ntarget = 'ssh'\nhost = 'h'\nsecrets = ['a=b']", "deploy.prod.secrets"),
        ("[deploy.prod]\ntarget = 'ssh'\nhost = 'h'\ntls_key = 'k'", "deploy.prod.tls_key"),
        ("[deploy.prod]\ntarget = 'ssh'\nhost = 'h'\ndomain = 'x y'", "deploy.prod.domain"),
        ("[deploy.prod]\ntarget = 'ssh'\nhost = 'h'\nstart_seconds = 1", "start_seconds"),
        ("[deploy.prod]\ntarget = 'ssh'\nhost = 'h'\nacme_email = 'a@b.example'", "acme_email"),
        (f"{ACME}acme_directory = 'http://ca.example'", "deploy.prod.acme_directory"),
        (f"{ACME}acme_root = 'root.pem'", "given together with acme_directory"),
        (f"{ACME}acme_email = 'nobody'", "deploy.prod.acme_email"),
        ("[deploy.prod]\ntarget = 'ssh'\nhost = 'h'\nmetrics_from = ['all']", "metrics_from"),
        (
            "[deploy.prod]\ntarget = 'ssh'\nhost = 'h'\nfirewall = false\n"
            "metrics_from = ['192.0.2.0/24']",
            "firewall = true",
        ),
    ],
)
def test_a_wrong_section_names_its_key(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ProjectError) as caught:
        load_project(write(tmp_path, text), environment={})
    assert said in str(caught.value)


def test_a_section_has_defaults_and_overlays(tmp_path: Path) -> None:
    file = write(tmp_path, "[deploy.prod]\ntarget = 'ssh'\nhost = 'root@one'\n")
    (tmp_path / "roadworthy.staging.toml").write_text("[deploy.prod]\nhost = 'two'\nport = 81\n"
                                                      "target = 'ssh'\n")  # fmt: skip
    assert load_project(file, environment={}).deploy["prod"].public_port == 80
    found = load_project(file, "staging", environment={}).deploy["prod"]
    assert (found.host, found.public_port, found.keep) == ("two", 81, 5)
    assert SshSection(host="h", domain="a.example").public_port == 443


def test_an_unknown_deployment_names_the_nearest() -> None:
    project = Project(deploy={"production": SshSection(host="h")})
    with pytest.raises(InputError, match="no deployment") as caught:
        section_of(project, "producton")
    assert "production" in str(caught.value.fix)
    with pytest.raises(InputError, match="cannot be the name"):
        section_of(project, "a;rm")


def test_the_section_of_containers_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    file = tmp_path / "roadworthy.toml"
    for line in (
        'address = "localhost"', "memory_mb = 8", "cpus = 0", 'image = "--privileged"',
        'network = "-x"', 'proxy_image = ""', 'engine = "buildah"', 'host = "a"', 'name = "A.b"',
    ):  # fmt: skip
        file.write_text(f'[deploy.here]\ntarget = "docker"\n{line}\n')
        with pytest.raises(ProjectError, match=line.split()[0]):
            load_project(file)
    file.write_text('[deploy.here]\ntarget = "docker"\naddress = "::1"\ncpus = 0.5\n')
    section = load_project(file).deploy["here"]
    assert section.place == "this machine, engine auto"

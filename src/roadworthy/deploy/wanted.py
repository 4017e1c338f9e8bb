"""What is wanted of a host: the release, worked out from the project and the bundle."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import io
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from roadworthy.bundle import Bundle
from roadworthy.bundle.container import is_sealed, open_container, pack
from roadworthy.bundle.keys import read_verifying_key
from roadworthy.deploy.host.service import BUNDLES, CREDENTIAL, SETTINGS
from roadworthy.errors import InputError, UnfitError
from roadworthy.image.settings import settings_text
from roadworthy.project import DeploySection, Project, ServeSection

_PART = 1 << 18
_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_OF_THE_PROXY = ("host", "port", "tls_certificate", "tls_key", "follow")


class Content(msgspec.Struct, frozen=True):
    """Bytes that a host gets: in a file of this machine, or at hand."""

    sha256: str
    size: int
    data: bytes | None = None
    path: Path | None = None

    def open(self) -> IO[bytes]:
        """The bytes, to be read."""
        return io.BytesIO(self.data or b"") if self.path is None else self.path.open("rb")

    def parts(self) -> Iterator[bytes]:
        """The bytes, in pieces."""
        with self.open() as source:
            while part := source.read(_PART):
                yield part


class Certificate(msgspec.Struct, frozen=True):
    """A certificate with its key, and the name that callers without one (SNI) get it by."""

    chain: Content
    key: Content
    name: str

    @property
    def pair(self) -> Content:
        """Both in one file, so that nobody ever sees one without the other."""
        parts = [*self.chain.parts(), b"\n", *self.key.parts()]
        data = b"".join(parts)
        return Content(hashlib.sha256(data).hexdigest(), len(data), data=data)


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a release."""

    name: str
    content: Content
    what: str


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a model with the settings it is served by.

    Attributes:
        id: First digits of the version, and of a digest of everything else that the process gets.
        model: The model's name.
        version: The bundle's version.
        files: The bundle, the settings and what they name.
        secrets: The secrets as JSON; never shown.
        trusted: Whether a signature is asked for.
    """

    id: str
    model: str
    version: str
    files: tuple[File, ...]
    secrets: Content
    trusted: bool


class Wanted(msgspec.Struct, frozen=True):
    """What a deployment is to serve, worked out before the host is asked."""

    release: Release
    bundle: Bundle
    certificate: Certificate | None
    authority: Content | None = None


def check_name(name: str) -> None:
    """Refuse what cannot be a deployment's name, with an InputError."""
    if not _NAME.fullmatch(name) or name.endswith("-proxy"):
        raise InputError(
            f"{name!r} cannot be the name of a deployment",
            where=f"[deploy.{name}]",
            fix="use lower-case letters, digits and dashes, a letter first, at most 31; not -proxy",
        )


def in_memory(data: bytes) -> Content:
    """Content that is at hand."""
    return Content(hashlib.sha256(data).hexdigest(), len(data), data=data)


def in_file(path: Path) -> Content:
    """Content of a file.

    Raises:
        InputError: It cannot be read.
    """
    try:
        with path.open("rb") as source:
            digest = hashlib.file_digest(source, "sha256").hexdigest()
        return Content(digest, path.stat().st_size, path=path)
    except OSError as error:
        raise InputError(
            f"the file cannot be read: {error.strerror or error}", where=str(path)
        ) from None


def make_release(
    bundle: Bundle,
    project: Project,
    section: DeploySection,
    folder: Path,
    log_folder: str,
    find: Callable[[str], Path],
) -> Release:
    """Everything that a host's process is given.

    Args:
        bundle: The bundle.
        project: For `[serve]` and `[registry] trusted_keys`.
        section: `[deploy.NAME]`.
        folder: Where archives of bundles may be written.
        log_folder: Where the host keeps the prediction log.
        find: The path of a bundle that `[serve]` names.

    Raises:
        InputError: A file or a secret is missing, or `[serve]` asks for what cannot be had there.
    """
    if not bundle.has_core:
        raise InputError(
            "the bundle has no core: a deployed server has no scikit-learn to run its estimator",
            where=str(bundle.path),
            fix="roadworthy serve it where it may run, or package an estimator of docs/formats.md",
        )
    options = project.serve
    if options.grpc_port is not None or options.client_ca is not None:
        key = "grpc_port" if options.grpc_port is not None else "client_ca"
        raise InputError(
            "a deployed server is behind a proxy that speaks HTTP and asks for no certificate",
            where=f"serve.{key}",
            fix=f"leave {key} out of the overlay for this deployment",
        )
    what = f"bundle {bundle.manifest.name}:{bundle.manifest.short_version}"
    packed = _packed(bundle.path, folder)
    files = [File(name=_bundle_name(bundle.path), content=packed, what=what)]
    named: dict[str, Any] = {"log_folder": log_folder if options.log_folder else None}
    for key in ("keys", "jwks"):
        if (path := getattr(options, key)) is not None:
            files.append(File(name=f"{key}.json", content=in_file(Path(path)), what=f"serve.{key}"))
            named[key] = f"{key}.json"
    for key in ("canary", "shadow"):
        if (reference := getattr(options, key)) is not None:
            content = _packed(find(reference), folder)
            files.append(File(name=f"{key}.rwb", content=content, what=f"serve.{key}"))
            named[key] = f"{key}.rwb"
    settings = _settings(options, named, project.registry.trusted_keys)
    files.append(File(name=SETTINGS, content=in_memory(settings), what="settings"))
    secrets = in_memory(msgspec.json.encode(_secrets(section), order="sorted"))
    return Release(
        id=f"{bundle.manifest.short_version}-{_settings_digest(files, secrets)}",
        model=bundle.manifest.name,
        version=bundle.version,
        files=tuple(files),
        secrets=secrets,
        trusted=bool(project.registry.trusted_keys),
    )


def check_certificate(section: DeploySection) -> Certificate | None:
    """The given certificate and key, when they can be used.

    Raises:
        InputError: They cannot be read, or do not belong together.
        UnfitError: The certificate has expired, or is not valid yet.
    """
    if section.tls_certificate is None or section.tls_key is None:
        return None
    paths = Path(section.tls_certificate), Path(section.tls_key)
    chain, key = in_file(paths[0]), in_file(paths[1])
    try:
        certificate = x509.load_pem_x509_certificates(paths[0].read_bytes())[0]
        private = load_pem_private_key(paths[1].read_bytes(), None)
    except (ValueError, TypeError, IndexError):
        raise InputError(
            "this is not a certificate with its key, both in PEM and the key without a passphrase",
            where=f"{paths[0]}, {paths[1]}",
        ) from None
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if certificate.public_key().public_bytes(*form) != private.public_key().public_bytes(*form):
        raise InputError("the key is not the certificate's", where=f"{paths[0]}, {paths[1]}")
    _check_days(certificate, str(paths[0]))
    return Certificate(chain, key, _subject(certificate))


def check_authority(section: DeploySection) -> Content | None:
    """The certificate by which the ACME server is trusted.

    Raises:
        InputError: It cannot be read, or is none.
        UnfitError: It has expired.
    """
    if section.acme_root is None:
        return None
    found = in_file(Path(section.acme_root))
    try:
        for certificate in x509.load_pem_x509_certificates(b"".join(found.parts())):
            _check_days(certificate, section.acme_root)
    except ValueError:
        raise InputError("this is no certificate in PEM", where=section.acme_root) from None
    return found


def _check_days(certificate: x509.Certificate, place: str) -> None:
    now = datetime.datetime.now(datetime.UTC)
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if last < now:
        raise UnfitError(
            f"the certificate expired on {last:%Y-%m-%d}",
            where=place,
            fix="renew it, then run the same again",
        )
    if first > now:
        raise UnfitError(
            f"the certificate is valid only from {first:%Y-%m-%d %H:%M} UTC on",
            where=place,
            fix="wait until then, or look at this machine's clock",
        )


def _subject(certificate: x509.Certificate) -> str:
    with contextlib.suppress(x509.ExtensionNotFound):
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        for each in names.value.get_values_for_type(x509.DNSName):
            return each
    common = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(common[0].value) if common else ""


def _secrets(section: DeploySection) -> dict[str, str]:
    lacking = [name for name in section.secrets if name not in os.environ]
    if lacking:
        raise InputError(
            f"the environment has no value for {', '.join(lacking)}",
            where="deploy secrets",
            fix="set them where you deploy from; they are sent through SSH and shown nowhere",
        )
    return {name: os.environ[name] for name in section.secrets}


def _settings(options: ServeSection, named: dict[str, Any], trusted: tuple[str, ...]) -> bytes:
    values = {
        key: value
        for key, value in {**msgspec.to_builtins(options), **named}.items()
        if value is not None and key not in _OF_THE_PROXY
    }
    keys = [
        read_verifying_key(each)
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        .decode()
        for each in trusted
    ]
    told = {"serve": dict(sorted(values.items())), "registry": {"trusted_keys": keys}}
    return settings_text(told).encode()


def _settings_digest(files: list[File], secrets: Content) -> str:
    """Eight digits; the secrets enter by a slow function, so that they cannot be guessed by it."""
    slow = hashlib.scrypt(secrets.sha256.encode(), salt=CREDENTIAL.encode(), n=1 << 14, r=8, p=1)
    named = sorted((file.name, file.content.sha256) for file in files)
    return hashlib.sha256(repr(named).encode() + slow).hexdigest()[:8]


def _bundle_name(path: Path) -> str:
    if path.is_dir():
        return BUNDLES[0]
    with path.open("rb") as source:
        return BUNDLES[1] if is_sealed(source) else BUNDLES[0]


def _packed(path: Path, folder: Path) -> Content:
    """A bundle as one file; a sealed one stays sealed."""
    if path.is_file():
        return in_file(path)
    with (
        tempfile.NamedTemporaryFile(dir=folder, suffix=".rwb", delete=False) as draft,
        open_container(path) as container,
    ):
        pack(container, draft, str(path))
    return in_file(Path(draft.name))

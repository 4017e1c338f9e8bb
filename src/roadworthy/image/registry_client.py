"""A registry over HTTP: pull a base, push an image, attach documents to it.

Specification: https://github.com/opencontainers/distribution-spec (1.1); tokens as in
https://distribution.github.io/distribution/spec/auth/token. A tag is put last, when everything
that it leads to is there: what was half pushed has no name.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import re
import ssl
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

from roadworthy.errors import InputError, OutsideError
from roadworthy.image.layout import (
    INDEX,
    MANIFEST,
    Layout,
    blob_path,
    for_this_machine,
    read_manifest,
)

_ACCEPT = ", ".join([
    MANIFEST, INDEX, "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
])  # fmt: skip
_SECONDS = 60
_LOCAL = re.compile(r"(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?")
EMPTY = b"{}"


class Place(NamedTuple):
    """A repository in a registry, and what is meant of it.

    Attributes:
        host: The registry.
        repository: The repository.
        reference: A tag or a digest.
    """

    host: str
    repository: str
    reference: str


def parse_place(text: str) -> Place:
    """`registry.example:5000/team/adult:1` taken apart; Docker's rules for what is left out."""
    name, _, digest = text.partition("@")
    head, slash, last = name.rpartition("/")
    last, _, tag = last.partition(":")
    name = f"{head}{slash}{last}"
    first, _, rest = name.partition("/")
    if not rest or ("." not in first and ":" not in first and first != "localhost"):
        first, rest = "registry-1.docker.io", name if "/" in name else f"library/{name}"
    return Place(first, rest, digest or tag or "latest")


class Registry:
    """One repository.

    Args:
        place: Where.

    Raises:
        OutsideError: From every method: it cannot be reached, or refuses.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        scheme = "http" if _LOCAL.fullmatch(place.host) else "https"
        self._root = f"{scheme}://{place.host}/v2/{place.repository}"
        self._authorization = ""

    def manifest(self, reference: str) -> tuple[str, dict[str, Any]] | None:
        """Digest and content of a manifest; None when it is not there."""
        status, _, content = self._ask("GET", f"/manifests/{reference}", accept=_ACCEPT)
        if status == 404:
            return None
        self._expect(status, content, {200})
        return f"sha256:{hashlib.sha256(content).hexdigest()}", json.loads(content)

    def blob(self, digest: str) -> bytes:
        """A blob, verified."""
        status, headers, content = self._ask("GET", f"/blobs/{digest}")
        if status in (301, 302, 303, 307, 308):
            content = self._elsewhere(headers["location"])
        else:
            self._expect(status, content, {200})
        if f"sha256:{hashlib.sha256(content).hexdigest()}" != digest:
            raise OutsideError("the registry sent something else", where=digest)
        return content

    def put_blob(self, content: bytes) -> str:
        """Push a blob unless it is there; returns its digest."""
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        status, _, _ = self._ask("HEAD", f"/blobs/{digest}")
        if status == 200:
            return digest
        status, headers, answer = self._ask("POST", "/blobs/uploads/", b"")
        self._expect(status, answer, {202})
        target = urllib.parse.urljoin(self._root + "/", headers["location"])
        joint = "&" if urllib.parse.urlsplit(target).query else "?"
        status, _, answer = self._ask(
            "PUT", f"{target}{joint}digest={digest}", content, media="application/octet-stream"
        )
        self._expect(status, answer, {201})
        return digest

    def put_manifest(self, content: bytes, reference: str, media: str = MANIFEST) -> str:
        """Push a manifest under a tag or its digest; returns its digest."""
        status, _, answer = self._ask("PUT", f"/manifests/{reference}", content, media=media)
        self._expect(status, answer, {201})
        return f"sha256:{hashlib.sha256(content).hexdigest()}"

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        media: str = "",
        accept: str = "",
    ) -> tuple[int, dict[str, str], bytes]:
        status, headers, content = self._once(method, path, body, media, accept)
        if status == 401 and "www-authenticate" in headers:
            self._log_in(headers["www-authenticate"])
            status, headers, content = self._once(method, path, body, media, accept)
        return status, headers, content

    def _once(
        self, method: str, path: str, body: bytes | None, media: str, accept: str
    ) -> tuple[int, dict[str, str], bytes]:
        address = path if path.startswith("http") else self._root + path
        headers = {"Accept": accept, "Content-Type": media, "Authorization": self._authorization}
        if urllib.parse.urlsplit(address).netloc != self.place.host:
            headers.pop("Authorization")
        request = urllib.request.Request(
            address, body, {key: text for key, text in headers.items() if text}, method=method
        )
        try:
            with _OPENER.open(request, timeout=_SECONDS) as answer:
                found = {key.lower(): text for key, text in answer.headers.items()}
                return answer.status, found, answer.read()
        except urllib.error.HTTPError as error:
            found = {key.lower(): text for key, text in error.headers.items()}
            return error.code, found, error.read()
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise OutsideError(
                f"the registry cannot be reached, or the connection was lost ({reason})",
                where=self.place.host,
                fix="try again: nothing that is half there has a tag",
            ) from None

    def _elsewhere(self, address: str) -> bytes:
        try:
            with urllib.request.urlopen(address, timeout=_SECONDS) as answer:
                content: bytes = answer.read()
                return content
        except (OSError, http.client.HTTPException) as error:
            raise OutsideError(f"a layer cannot be fetched ({error})", where=address) from None

    def _log_in(self, challenge: str) -> None:
        """Answer a challenge: basic, or a token from the issuer that it names."""
        kind, _, rest = challenge.partition(" ")
        credentials = stored_credentials(self.place.host)
        basic = ""
        if credentials:
            basic = "Basic " + base64.b64encode(":".join(credentials).encode()).decode()
        if kind.lower() == "basic":
            self._authorization = basic
            return
        parts = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        query = {key: parts[key] for key in ("service", "scope") if key in parts}
        query["scope"] = f"repository:{self.place.repository}:pull,push"
        if not parts.get("realm", "").startswith(("https://", "http://")):
            raise OutsideError("the registry asks for a login of an unknown kind")
        address = f"{parts['realm']}?{urllib.parse.urlencode(query)}"
        request = urllib.request.Request(address, headers={"Authorization": basic} if basic else {})
        try:
            with _OPENER.open(request, timeout=_SECONDS) as answer:
                document = json.loads(answer.read())
        except (OSError, ValueError, http.client.HTTPException):
            raise self._refused("its token service said no") from None
        token = document.get("token") or document.get("access_token") or ""
        self._authorization = f"Bearer {token}"

    def _expect(self, status: int, content: bytes, wanted: set[int]) -> None:
        if status in wanted:
            return
        try:
            error = json.loads(content)["errors"][0]
            said = f"{error['code']}: {error.get('message', '')}"
        except (ValueError, KeyError, IndexError, TypeError):
            said = f"status {status}"
        if status in (401, 403):
            raise self._refused(said)
        raise OutsideError(f"the registry refused ({said})", where=self.place.host)

    def _refused(self, said: str) -> OutsideError:
        return OutsideError(
            f"the registry refused: not allowed ({said})",
            where=f"{self.place.host}/{self.place.repository}",
            fix=f"docker login {self.place.host}",
        )


class _Stay(urllib.request.HTTPRedirectHandler):
    """Redirects are looked at, not followed: a token must not go elsewhere."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(
    _Stay(), urllib.request.HTTPSHandler(context=ssl.create_default_context())
)


def stored_credentials(host: str, config: Path | None = None) -> tuple[str, str] | None:
    """User and password from Docker's or Podman's own files, or the helper that they name."""
    import os

    folder = os.environ.get("DOCKER_CONFIG")
    files = [config] if config else [
        Path(folder, "config.json") if folder else Path.home() / ".docker" / "config.json",
        Path(os.environ.get("XDG_RUNTIME_DIR", "/nowhere"), "containers", "auth.json"),
    ]  # fmt: skip
    names = [host, f"https://{host}"]
    if host == "registry-1.docker.io":
        names.append("https://index.docker.io/v1/")
    for file in files:
        try:
            content = json.loads(file.read_bytes())
        except (OSError, ValueError):
            continue
        for name in names:
            helper = (content.get("credHelpers") or {}).get(name) or content.get("credsStore")
            if helper and (found := _from_helper(str(helper), name)):
                return found
            entry = (content.get("auths") or {}).get(name) or {}
            if entry.get("auth"):
                user, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
                return user, password
    return None


def _from_helper(helper: str, name: str) -> tuple[str, str] | None:
    """Ask a credential helper (https://github.com/docker/docker-credential-helpers)."""
    try:
        done = subprocess.run(
            [f"docker-credential-{helper}", "get"], input=name, capture_output=True, text=True,
            timeout=30, check=True,
        )  # fmt: skip
        found = json.loads(done.stdout)
        return found["Username"], found["Secret"]
    except (OSError, subprocess.SubprocessError, ValueError, KeyError):
        return None


def push_layout(folder: Path, place: Place) -> str:
    """Push the image of a layout; the tag is put last. Returns the digest."""
    digest, manifest = read_manifest(folder)
    registry = Registry(place)
    for entry in [*manifest["layers"], manifest["config"]]:
        registry.put_blob(blob_path(folder, entry["digest"]).read_bytes())
    return registry.put_manifest(blob_path(folder, digest).read_bytes(), place.reference)


def pull_into(place: Place, layout: Layout) -> tuple[str, dict[str, Any], list[dict[str, Any]]]:
    """Pull an image's parts into a layout.

    Returns:
        Its digest, its configuration and the descriptors of its layers.
    """
    registry = Registry(place)
    found = registry.manifest(place.reference)
    if found is None:
        raise InputError(
            "the base image is not known there",
            where=f"{place.host}/{place.repository}:{place.reference}",
            fix="check its name, tag and registry",
        )
    digest, content = found
    if "manifests" in content:
        found = registry.manifest(for_this_machine(content["manifests"])["digest"])
        if found is None:
            raise InputError("the base image has no part for this machine", where=digest)
        content = found[1]
    for entry in [*content["layers"], content["config"]]:
        layout.put(registry.blob(entry["digest"]))
    config = json.loads(registry.blob(content["config"]["digest"]))
    return digest, config, content["layers"]


def attach(place: Place, subject: str, kind: str, files: dict[str, tuple[str, bytes]]) -> str:
    """Attach documents to an image, as an OCI referrer.

    Args:
        place: The repository.
        subject: The image's digest.
        kind: The artifact's type.
        files: Name -> media type and content.

    Returns:
        The digest of the attachment.
    """
    registry = Registry(place)
    found = registry.manifest(subject)
    if found is None:
        raise OutsideError("the image is not in the registry", where=subject)
    size = len(registry._ask("GET", f"/manifests/{subject}", accept=_ACCEPT)[2])
    empty = registry.put_blob(EMPTY)
    layers = []
    for name, (media, content) in files.items():
        layers.append({
            "mediaType": media, "digest": registry.put_blob(content), "size": len(content),
            "annotations": {"org.opencontainers.image.title": name},
        })  # fmt: skip
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": kind,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2},
        "layers": layers,
        "subject": {
            "mediaType": found[1].get("mediaType", MANIFEST), "digest": subject, "size": size,
        },
    }  # fmt: skip
    content = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    registry.put_manifest(content, digest)
    _add_to_fallback(registry, subject, digest, len(content), kind)
    return digest


def _add_to_fallback(registry: Registry, subject: str, digest: str, size: int, kind: str) -> None:
    """Keep the index that stands in for the referrers' list where a registry has none."""
    tag = subject.replace(":", "-")
    found = registry.manifest(tag)
    entries = [] if found is None else list(found[1].get("manifests", []))
    if all(entry["digest"] != digest for entry in entries):
        entries.append({
            "mediaType": MANIFEST, "digest": digest, "size": size, "artifactType": kind,
        })  # fmt: skip
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
    registry.put_manifest(json.dumps(index, sort_keys=True).encode(), tag, INDEX)

"""Roadworthy's own wheel, made of the package that runs: the image serves with the code that built.

Nothing is fetched and nothing is installed: a wheel is a zip of the package with three files of
metadata (https://packaging.python.org/specifications/binary-distribution-format). Same code, same
bytes.
"""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from pathlib import Path

import roadworthy

_MOMENT = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip can hold: nothing of today goes into the image."""


def own_wheel() -> tuple[str, bytes]:
    """File name and content of a wheel of the running package."""
    root = Path(roadworthy.__file__).parent
    version = roadworthy.__version__
    files = {
        f"roadworthy/{file.relative_to(root).as_posix()}": file.read_bytes()
        for file in sorted(root.rglob("*"))
        if file.is_file() and "__pycache__" not in file.parts and not file.name.startswith(".")
    }
    folder = f"roadworthy-{version}.dist-info"
    files[f"{folder}/METADATA"] = (
        f"Metadata-Version: 2.4\nName: roadworthy\nVersion: {version}\n"
        "License-Expression: Apache-2.0\n"
    ).encode()
    files[f"{folder}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: roadworthy\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    files[f"{folder}/entry_points.txt"] = b"[console_scripts]\nroadworthy = roadworthy.cli:main\n"
    record = [f"{name},sha256={_digest(content)},{len(content)}" for name, content in files.items()]
    files[f"{folder}/RECORD"] = "\n".join([*record, f"{folder}/RECORD,,", ""]).encode()
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, _MOMENT)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return f"roadworthy-{version}-py3-none-any.whl", held.getvalue()


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()

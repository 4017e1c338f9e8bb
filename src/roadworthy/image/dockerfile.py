"""The Dockerfile: two stages, plain enough for every builder, for people to read and keep.

No `# syntax=` line and no mounts: the frontend would be fetched from a registry, and Docker's
classic builder knows neither.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

HOME = "/opt/roadworthy"
MODEL = f"{HOME}/model"
USER = 10001
PORT = 8080
ENTRYPOINT = ("python", "-m", "roadworthy")
COMMAND = ("serve",)
HEALTH = ("python", "-I", "-S", f"{HOME}/probe.py")
"""Interval, timeout and start period are in seconds; a loaded machine starts Python slowly."""
HEALTH_SECONDS = {"interval": 15, "timeout": 5, "start-period": 60}
ENVIRONMENT = {
    "PYTHONPATH": f"{HOME}/site",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
    "XDG_CACHE_HOME": "/tmp",
    "ROADWORTHY_SERVE_HOST": "0.0.0.0",
}
UNUSED = (
    "numpy/f2py", "numpy/distutils", "onnxruntime/backend", "onnxruntime/datasets",
    "onnxruntime/quantization", "onnxruntime/tools", "onnxruntime/transformers",
    "onnxruntime/capi/libonnxruntime.so*", "pygments/lexers/[a-z]*.py", "bin",
)  # fmt: skip
"""Parts of packages that no server imports: a C library beside the extension module that holds the
same, tools for making models, grammars of languages to colour. NumPy's own tests go too."""
PRUNE = (
    f"cd site && rm -rf {' '.join(UNUSED)} "
    "&& find numpy -depth -type d -name tests -exec rm -rf {} + && cd .."
)
STEPS = (
    "python -m pip install --no-cache-dir --no-compile --only-binary :all: --require-hashes "
    "--target site -r requirements.txt",
    "python -m pip install --no-cache-dir --no-compile --no-deps --no-index --target site *.whl",
    PRUNE,
    "PYTHONPATH=site python -B -m roadworthy.image.sbom site < contents.json > sbom.cdx.json",
    "PYTHONHASHSEED=0 python -m compileall -q --invalidation-mode unchecked-hash "
    "-s . -p /opt/roadworthy site",
)


def environment_of(model: str) -> dict[str, str]:
    """The image's variables.

    Args:
        model: A folder in the image, a reference of the registry, or empty.
    """
    return ENVIRONMENT | ({"ROADWORTHY_MODEL": model} if model else {})


def dockerfile(base: str, labels: Mapping[str, str], model: str) -> str:
    """The text of a Dockerfile, for the folder that `write_context` makes.

    Args:
        base: The base image, best with its digest.
        labels: The image's labels.
        model: What `ROADWORTHY_MODEL` says: `MODEL` when it is in the image; empty for nothing.
    """
    environment = environment_of(model)
    steps = " \\\n && ".join(STEPS)
    pairs = " \\\n      ".join(f"{key}={json.dumps(text)}" for key, text in sorted(labels.items()))
    variables = " \\\n    ".join(f"{key}={text}" for key, text in environment.items())
    health = " ".join(f"--{key}={seconds}s" for key, seconds in HEALTH_SECONDS.items())
    inside = "COPY model model\n" if model == MODEL else ""
    return f"""\
# Written by `roadworthy image build`; yours to read, keep and change.
# Build it again with `docker build .` (or podman, or buildah) in this folder.

FROM {base} AS install
# For an index of your own: --build-arg PIP_INDEX_URL=...; nothing of it stays in the image.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
WORKDIR /install
COPY requirements.txt contents.json *.whl ./
RUN {steps}

FROM {base}
# The server installs nothing: no pip for whoever gets in.
RUN rm -rf /usr/local/lib/python3*/site-packages/* /usr/local/lib/python3*/ensurepip \\
    /usr/local/bin/pip* /root/.cache
WORKDIR {HOME}
COPY --from=install /install/site site
COPY --from=install /install/sbom.cdx.json ./
COPY probe.py roadworthy.toml ./
COPY keys keys
{inside}ENV {variables}
LABEL {pairs}
USER {USER}:{USER}
EXPOSE {PORT}
STOPSIGNAL SIGTERM
HEALTHCHECK {health} CMD {json.dumps(list(HEALTH))}
ENTRYPOINT {json.dumps(list(ENTRYPOINT))}
CMD {json.dumps(list(COMMAND))}
"""

"""Doubles of the actions of others, for runs without a network: what they do, done with files.

`STUB_STORE` is the folder where artifacts and caches are; every action that speaks to a service only
writes down that it was called.
"""

from __future__ import annotations

from pathlib import Path

from roadworthy.pipeline.pins import PINS

_UPLOAD = """\
name: upload
inputs: {name: {}, path: {}, if-no-files-found: {default: warn}, retention-days: {}}
runs:
  using: composite
  steps:
    - shell: bash
      env: {NAME: "${{ inputs.name }}", PATHS: "${{ inputs.path }}", NONE: "${{ inputs.if-no-files-found }}"}
      run: |
        store="$STUB_STORE/artifacts/$NAME"; mkdir -p "$store"; count=$(printf '%s' "$PATHS" | grep -c .)
        while read -r each; do
          [ -n "$each" ] && [ -e "$each" ] || continue
          case "$count:$each" in 1:*/) cp -r "$each." "$store";; *) cp -r --parents "$each" "$store";; esac
        done <<< "$PATHS"
        [ "$NONE" != error ] || [ -n "$(ls -A "$store")" ] || { echo "no files were found"; exit 1; }
"""
_DOWNLOAD = """\
name: download
inputs: {name: {}, path: {default: .}}
runs:
  using: composite
  steps:
    - shell: bash
      env: {NAME: "${{ inputs.name }}", PLACE: "${{ inputs.path }}"}
      run: |
        store="$STUB_STORE/artifacts/$NAME"; [ -d "$store" ] || { echo "no artifact $NAME"; exit 1; }
        mkdir -p "$PLACE"; cp -r "$store/." "$PLACE"
"""
_CACHE = """\
name: cache
inputs: {path: {}, key: {}}
runs: {using: node20, main: restore.js, post: save.js}
"""
_RESTORE = """\
const fs = require('fs'); const key = encodeURIComponent(process.env.INPUT_KEY)
const store = `${process.env.STUB_STORE}/caches/${key}`
if (fs.existsSync(store)) fs.cpSync(store, process.env.INPUT_PATH, {recursive: true})
fs.appendFileSync(`${process.env.STUB_STORE}/calls`, `cache ${fs.existsSync(store)} ${process.env.INPUT_KEY}\\n`)
"""
_SAVE = """\
const fs = require('fs'); const key = encodeURIComponent(process.env.INPUT_KEY)
const store = `${process.env.STUB_STORE}/caches/${key}`
if (fs.existsSync(process.env.INPUT_PATH)) fs.cpSync(process.env.INPUT_PATH, store, {recursive: true})
"""
_RECORDED = """\
name: recorded
inputs: {%s}
runs:
  using: composite
  steps:
    - shell: bash
      run: echo "%s" >> "$STUB_STORE/calls"
"""
_INPUTS = {
    "actions/setup-python": ["python-version"],
    "docker/login-action": ["registry", "username", "password"],
    "aws-actions/configure-aws-credentials": ["role-to-assume", "aws-region"],
    "Azure/login": ["client-id", "tenant-id", "subscription-id"],
    "google-github-actions/auth": ["workload_identity_provider", "service_account"],
}


def write_stubs(folder: Path) -> list[str]:
    """Write a double of every action; the options of `act` that put them in place."""
    options = []
    for action, pin in PINS.items():
        if action == "actions/checkout":
            continue  # act brings its own
        place = folder / action.replace("/", "-")
        place.mkdir(parents=True)
        known = {
            "actions/upload-artifact": _UPLOAD,
            "actions/download-artifact": _DOWNLOAD,
            "actions/cache": _CACHE,
        }
        inputs = ", ".join(f"{name}: {{}}" for name in _INPUTS.get(action, []))
        (place / "action.yml").write_text(known.get(action) or _RECORDED % (inputs, action))
        if action == "actions/cache":
            (place / "restore.js").write_text(_RESTORE)
            (place / "save.js").write_text(_SAVE)
        options += ["--local-repository", f"{action}@{pin.commit}={place}"]
    return options

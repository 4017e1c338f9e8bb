"""What a machine of a fleet does as its account: fetch a release from Cloud Storage.

    python3 fetching.py gs://BUCKET/OBJECT FILE

It runs by the system's Python alone, from user data. The machine's own metadata service hands out
the token (https://cloud.google.com/compute/docs/access/authenticate-workloads).
"""

import json
import os
import shutil
import sys
import urllib.parse
import urllib.request

META = os.environ.get("GCE_METADATA_HOST") or "metadata.google.internal"
STORE = os.environ.get("STORAGE_EMULATOR_HOST") or "https://storage.googleapis.com"


def main(place: str, file: str) -> None:
    """Write an object to a file."""
    ask = urllib.request.Request(
        f"http://{META}/computeMetadata/v1/instance/service-accounts/default/token",
        headers={"Metadata-Flavor": "Google"},
    )
    with urllib.request.urlopen(ask, timeout=10) as answer:
        token = json.load(answer)["access_token"]
    bucket, _, name = place[len("gs://") :].partition("/")
    name = urllib.parse.quote(name, safe="")
    ask = urllib.request.Request(
        f"{STORE}/storage/v1/b/{bucket}/o/{name}?alt=media",
        headers={"Authorization": "Bearer " + token},
    )
    with urllib.request.urlopen(ask, timeout=60) as answer, open(file, "wb") as sink:
        shutil.copyfileobj(answer, sink)


if __name__ == "__main__":
    main(*sys.argv[1:3])

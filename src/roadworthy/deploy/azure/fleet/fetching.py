"""What a machine of a fleet does as its identity: fetch a release from Blob storage.

    python3 fetching.py URL FILE IDENTITY

It runs by the system's Python alone, from user data. The machine's own metadata service hands out
the token (https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/
how-to-use-vm-token).
"""

import json
import os
import shutil
import sys
import urllib.parse
import urllib.request

META = os.environ.get("AZURE_POD_IDENTITY_AUTHORITY_HOST") or "http://169.254.169.254"


def main(place: str, file: str, identity: str) -> None:
    """Write a blob to a file."""
    asked = {"api-version": "2018-02-01", "resource": "https://storage.azure.com/",
             "mi_res_id": identity}  # fmt: skip
    ask = urllib.request.Request(
        f"{META}/metadata/identity/oauth2/token?{urllib.parse.urlencode(asked)}",
        headers={"Metadata": "true"},
    )
    with urllib.request.urlopen(ask, timeout=10) as answer:
        token = json.load(answer)["access_token"]
    told = {"Authorization": "Bearer " + token, "x-ms-version": "2021-12-02"}
    ask = urllib.request.Request(place, headers=told)
    with urllib.request.urlopen(ask, timeout=60) as answer, open(file, "wb") as sink:
        shutil.copyfileobj(answer, sink)


if __name__ == "__main__":
    main(*sys.argv[1:4])

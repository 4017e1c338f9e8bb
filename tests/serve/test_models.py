"""Several models and versions: swapped without a lost request, canary, shadow."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from roadworthy.bundle.container import open_container, pack
from roadworthy.bundle.keys import open_signer
from roadworthy.bundle.sealing import seal
from roadworthy.bundle.sign import sign_bundle
from tests.bundle.test_signature import make_key
from tests.conftest import Server, Trained, serving
from tests.serve.test_bad_input import ROW
from tests.serve.test_dialects import DIALECTS
from tests.serve.test_http import wait_for

BODY = json.dumps(ROW).encode()


def version(server: Server, path: str = "/predict", **headers: str) -> str:
    status, _, content = server.request(
        "POST", path, BODY, Content_Type="application/json", **headers
    )
    assert status == 200, content
    return json.loads(content)["version"]


def write(folder: Path, text: str) -> Path:
    (folder / "roadworthy.toml").write_text(f"[serve]\n{text}\n")
    return folder


def test_several_models_answer_by_their_names(bundles: dict[str, Trained]) -> None:
    adult, storms = bundles["binary"].bundle, bundles["multiclass"].bundle
    with serving(adult.path, str(storms.path)) as server:
        row = storms.golden[0].row
        assert server.predict(ROW)[1]["model"] == "adult"
        for path, body, name in (
            ("/models/adult/predict", ROW, "adult"),
            (f"/models/adult/versions/{adult.manifest.short_version}/predict", ROW, "adult"),
            ("/models/storms/predict", row, "storms"),
        ):
            status, _, content = server.request(
                "POST", path, json.dumps(body).encode(), Content_Type="application/json"
            )
            assert (status, json.loads(content)["model"]) == (200, name)
        assert server.get("/models/storms/contract")[0] == 200
        assert server.get("/v1/models/storms")[0] == 200
        assert server.get("/models/other/contract")[0] == 404
        assert [model["name"] for model in json.loads(server.get("/models")[2])] == [
            "adult",
            "storms",
        ]
        text = server.get("/metrics")[2].decode()
    assert 'roadworthy_rows_total{model="storms"} 1.0' in text
    assert 'roadworthy_rows_total{model="adult"} 3.0' in text


def point(link: Path, target: Path) -> None:
    draft = link.with_name("draft")
    draft.symlink_to(target)
    draft.replace(link)


def test_a_model_is_swapped_under_load_without_a_lost_request(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    first, second = bundles["binary"].bundle, bundles["linear"].bundle
    link = tmp_path / "current"
    point(link, first.path)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "manifest.json").write_text("{}")
    write(tmp_path, "follow = true")
    with serving(link, "--workers", "2", cwd=tmp_path) as server:
        seen: list[str] = []
        failures: list[BaseException] = []
        stop = threading.Event()

        def ask() -> None:
            try:
                while not stop.is_set():
                    seen.append(version(server))
            except BaseException as error:
                failures.append(error)

        clients = [threading.Thread(target=ask) for _ in range(3)]
        for client in clients:
            client.start()
        time.sleep(0.3)
        point(link, broken)  # it is refused, and the old one goes on
        wait_for(lambda: any("goes on with version" in line for line in server.log))
        assert set(seen) == {first.version}
        point(link, second.path)
        end = time.monotonic() + 120
        while seen[-20:].count(second.version) < 20 and time.monotonic() < end:
            time.sleep(0.1)
        stop.set()
        for client in clients:
            client.join()
        assert not failures
        assert set(seen[-20:]) == {second.version}
        # the counts of both versions are kept
        counted = f'roadworthy_rows_total{{model="adult"}} {len(seen)}.0'
        wait_for(lambda: counted in server.get("/metrics")[2].decode())
    assert [line for line in server.log if "goes on with version" in line]


def test_a_canary_answers_its_share_and_always_the_same_keys(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    current, canary = bundles["binary"].bundle, bundles["linear"].bundle
    folder = write(
        tmp_path, f"canary = '{canary.path}'\ncanary_percent = 30\ncanary_key = 'x-customer'"
    )
    with serving(current.path, cwd=folder) as server:
        chosen = [version(server, X_Customer=f"customer-{i}") for i in range(200)]
        again = [version(server, X_Customer=f"customer-{i}") for i in range(200)]
        assert chosen == again
        assert 35 <= chosen.count(canary.version) <= 85
        for bundle in (current, canary):
            path = f"/models/adult/versions/{bundle.manifest.short_version}/predict"
            assert version(server, path) == bundle.version


def test_a_shadow_is_asked_too_and_judged(bundles: dict[str, Trained], tmp_path: Path) -> None:
    current, other = bundles["binary"].bundle, bundles["linear"].bundle
    rows = [golden.row for golden in current.golden]
    folder = write(tmp_path, f"shadow = '{other.path}'\nshadow_rows = 100")
    with serving(current.path, cwd=folder) as server:
        assert json.loads(server.get("/shadow")[2])["verdict"] == "too few rows"
        wanted = current.predict(rows)
        for _ in range(4):
            given = server.predict(rows)[1]["predictions"]
            assert [row["prediction"] for row in given] == [row["prediction"] for row in wanted]
        assert server.predict(ROW)[1]["version"] == current.version
        asked = 4 * len(rows) + 1
        wait_for(lambda: json.loads(server.get("/shadow")[2])["rows"] == asked)
        verdict = json.loads(server.get("/shadow")[2])
    pairs = zip(wanted, other.predict(rows), strict=True)
    different = sum(a["prediction"] != b["prediction"] for a, b in pairs)
    assert verdict["rows"] == 4 * len(rows) + 1
    assert verdict["different"] in (4 * different, 4 * different + 1)
    assert verdict["verdict"] == ("different" if 4 * different else "same")


@pytest.mark.parametrize("broken", ["canary", "shadow"])
def test_a_second_version_that_cannot_be_served_stops_the_start(
    bundles: dict[str, Trained], tmp_path: Path, broken: str
) -> None:
    write(tmp_path, f"{broken} = './nowhere'")
    command = [sys.executable, "-m", "roadworthy", "serve", str(bundles["binary"].bundle.path)]
    run = subprocess.run(
        [*command, "--port", "0"], capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert run.returncode == 2
    assert "this is not a bundle" in run.stderr


def signed_copies(bundles: dict[str, Trained], folder: Path) -> tuple[Path, Path, Path]:
    """One version with a trusted signature, another with a stranger's, and that without any."""
    private, _ = make_key(folder)
    stranger, _ = make_key(folder, "stranger")
    trusted, foreign, unsigned = (folder / name for name in ("trusted", "foreign", "unsigned"))
    shutil.copytree(bundles["binary"].bundle.path, trusted)
    for other in (foreign, unsigned):
        shutil.copytree(bundles["linear"].bundle.path, other)
    sign_bundle(trusted, open_signer(private))
    sign_bundle(foreign, open_signer(stranger))
    return trusted, foreign, unsigned


def start(folder: Path, *models: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "roadworthy", "serve", *map(str, models), "--port", "0"]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=60)


def told(server: Server, reason: str) -> bool:
    return any("goes on with version" in line and reason in line for line in server.log)


TRUST = "follow = true\n[registry]\ntrusted_keys = ['release.pub']"


def test_with_trusted_keys_a_swap_to_what_none_of_them_signed_is_refused(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    trusted, foreign, unsigned = signed_copies(bundles, tmp_path)
    second = tmp_path / "second"
    shutil.copytree(bundles["linear"].bundle.path, second)
    sign_bundle(second, open_signer(str(tmp_path / "release.key")))
    # a manifest that is no JSON: whoever parsed it before the signature would say so
    (unsigned / "manifest.json").write_text("{")
    link = tmp_path / "current"
    point(link, trusted)
    write(tmp_path, TRUST)
    first, other = bundles["binary"].bundle.version, bundles["linear"].bundle.version
    with serving(link, cwd=tmp_path) as server:
        for refused, reason in ((unsigned, "is not signed"), (foreign, "signed by a trusted key")):
            point(link, refused)
            end = time.monotonic() + 60
            while not told(server, reason) and time.monotonic() < end:
                assert version(server) == first
                time.sleep(0.1)
            assert told(server, reason)
            assert version(server) == first
        point(link, second)
        end = time.monotonic() + 60
        while version(server) == first and time.monotonic() < end:
            time.sleep(0.1)
        assert version(server) == other


@pytest.mark.parametrize("beside", ["canary", "shadow"])
def test_with_trusted_keys_a_canary_or_shadow_that_none_of_them_signed_stops_the_start(
    bundles: dict[str, Trained], tmp_path: Path, beside: str
) -> None:
    trusted, foreign, unsigned = signed_copies(bundles, tmp_path)
    for refused in (foreign, unsigned):
        write(tmp_path, f"{beside} = '{refused}'\ncanary_percent = 50\n{TRUST}")
        run = start(tmp_path, trusted)
        assert run.returncode == 1
        assert "signed" in run.stderr
        assert "Traceback" not in run.stderr
        write(tmp_path, TRUST)
        assert start(tmp_path, trusted, refused).returncode == 1


def test_archives_and_sealed_bundles_are_served_and_followed(
    bundles: dict[str, Trained], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROADWORTHY_SEAL_PASSPHRASE", "correct horse battery staple")
    files = {}
    for name in ("binary", "linear"):
        files[name] = tmp_path / f"{name}.rwb"
        with open_container(bundles[name].bundle.path) as container, files[name].open("wb") as out:
            pack(container, out, name)
    sealed = tmp_path / "sealed.rwb"
    with files["linear"].open("rb") as source, sealed.open("wb") as out:
        seal(source, out, ["passphrase"])
    place = tmp_path / "current.rwb"
    shutil.copy(files["binary"], place)
    write(tmp_path, "follow = true")
    with serving(place, cwd=tmp_path) as server:
        assert version(server) == bundles["binary"].bundle.version
        sealed.replace(place)  # the same path, another file
        end = time.monotonic() + 60
        while version(server) != bundles["linear"].bundle.version and time.monotonic() < end:
            time.sleep(0.1)
        assert version(server) == bundles["linear"].bundle.version


def test_a_shadow_is_asked_what_every_dialect_is_asked(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    current, other = bundles["binary"].bundle, bundles["linear"].bundle
    rows = [{**golden.row, **dict.fromkeys(["workclass"])} for golden in current.golden][:20]
    folder = write(tmp_path, f"shadow = '{other.path}'\nshadow_rows = 10")
    forms = [name for name in DIALECTS if name != "SageMaker CSV"]
    with serving(current.path, cwd=folder) as server:
        for name in forms:
            DIALECTS[name](server, rows)
            for _ in range(50):
                verdict = json.loads(server.get("/shadow")[2])
                if verdict["rows"] == len(rows) * (forms.index(name) + 1):
                    break
                time.sleep(0.1)
    pairs = zip(current.predict(rows), other.predict(rows), strict=True)
    different = sum(a["prediction"] != b["prediction"] for a, b in pairs)
    assert (verdict["rows"], verdict["failures"]) == (len(forms) * len(rows), 0)
    assert verdict["different"] == len(forms) * different

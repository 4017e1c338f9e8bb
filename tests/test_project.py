from __future__ import annotations

import contextlib
from pathlib import Path
from typing import get_type_hints

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from roadworthy.errors import InputError, ProjectError
from roadworthy.project import Project, ServeSection, load_project, parse_duration


def write(folder: Path, text: str, name: str = "roadworthy.toml") -> Path:
    file = folder / name
    file.write_text(text)
    return file


def test_without_a_file_everything_has_a_default(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_project(environment={}) == Project()


def test_an_unknown_key_names_the_nearest_valid_one(tmp_path: Path) -> None:
    file = write(tmp_path, "[train]\nbugdet = '5s'\n")
    with pytest.raises(ProjectError) as caught:
        load_project(file, environment={})
    assert "train.bugdet" in caught.value.what
    assert "'budget'" in str(caught.value.fix)
    assert str(file) == caught.value.where


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[package]\nformats = ['pmml']", "package.formats"),
        ("[package]\ntrusted_types = ['Type']", "package.trusted_types"),
        ("[serve]\nport = 'http'", "serve.port"),
        ("[serve]\nport = 70000", "serve.port"),
        ("[serve]\nmax_text = 1", "serve.max_text"),
        ("[serve]\ngrpc_port = 0", "serve.grpc_port"),
        ("[serve]\nmax_connections = 0", "serve.max_connections"),
        ("[serve]\nmax_in_flight = 0", "serve.max_in_flight"),
        ("[serve]\nheader_seconds = 0", "serve.header_seconds"),
        ("[serve]\nbody_seconds = 4000", "serve.body_seconds"),
        ("[serve]\nkeep_alive_seconds = -1", "serve.keep_alive_seconds"),
        ("[serve]\ndrain_seconds = 0", "serve.drain_seconds"),
        ("[serve]\nhang_seconds = 0", "serve.hang_seconds"),
        ("[serve]\ndialects = ['klingon']", "serve.dialects"),
        ("[serve]\ntls_key = 'a'", "serve.tls_key"),
        ("[serve]\nclient_ca = 'a'", "serve.client_ca"),
        ("[serve]\ncanary_percent = 101", "serve.canary_percent"),
        ("[serve]\ncanary_key = 'X-Key'", "serve.canary_key"),
        ("[serve]\nshadow_rows = 0", "serve.shadow_rows"),
        ("[serve]\nshadow_tolerance = 2", "serve.shadow_tolerance"),
        ("[serve]\nshadow_queue = 0", "serve.shadow_queue"),
        ("[serve]\nlog_sample = 2", "serve.log_sample"),
        ("[serve]\nlog_rows = 0", "serve.log_rows"),
        ("[serve]\nfollow = 1", "serve.follow"),
        ("[serve]\naccess_log = 'yes'", "serve.access_log"),
        ("[serve]\nworkers = -1", "serve.workers"),
        ("[serve]\nworkers = 257", "serve.workers"),
        ("[serve]\nabsent = 'guess'", "serve.absent"),
        ("[serve]\nallow_pickle = 'yes'", "serve.allow_pickle"),
        ("[serve]\nmax_body_mb = 0", "serve.max_body_mb"),
        ("[serve]\nmax_rows = 0", "serve.max_rows"),
        ("[serve]\nmax_connections_client = 0", "serve.max_connections_client"),
        ("[serve]\nmax_in_flight_client = 0", "serve.max_in_flight_client"),
        ("[serve]\nrate_client = 0", "serve.rate_client"),
        ("[serve]\nrate_client = 1e7", "serve.rate_client"),
        ("[serve]\nburst_client = 0", "serve.burst_client"),
        ("[serve]\ntrusted_proxies = ['proxy.example']", "serve.trusted_proxies"),
        ("[serve]\ntrusted_proxies = ['10.0.0.1/8']", "serve.trusted_proxies"),
        ("[serve]\nproxy_header = 'x-real-ip'", "serve.proxy_header"),
        ("[serve]\noidc = true\njwks = 'keys.json'", "serve.oidc"),
        ("[serve]\ntls_certificate = 'a'", "serve.tls_key"),
        ("[serve]\nlog_format = 'xml'", "serve.log_format"),
        ("[serve]\nlog_to = 's3://bucket'", "serve.log_folder"),
        ("[serve]\notlp = 'http://me:secret@host'", "serve.otlp"),
        ("[serve]\notlp_sample = -0.1", "serve.otlp_sample"),
        ("[serve]\ncanary_percent = -1", "serve.canary_percent"),
        ("[data]\nholdout = 1.5", "data.holdout"),
        ("[data.columns.age]\nkind = 'nmuber'", "data.columns"),
        ("[data.columns.age]\nknid = 'number'", "data.columns.age.knid"),
        ("[train]\nbudget = 'soon'", "budget"),
        ("[nothing]\na = 1", "nothing"),
        ("[data]\ndelimiter = ';;'", "data.delimiter"),
        ("[train]\nvalidation = 'leave_one_out'", "train.validation"),
        ("[train]\nrepeats = 1", "train.repeats"),
        ("[train]\ngap = -1", "train.gap"),
        ("[train]\nquantile = 1.0", "train.quantile"),
        ("[train]\nclass_weight = 'even'", "train.class_weight"),
        ("[train.class_weight]\nyes = 0", "train.class_weight"),
        ("[train]\ncalibrate = 'platt'", "train.calibrate"),
        ("[train]\ninterval = 90", "train.interval"),
        ("[train.decision]\nthreshold = 1", "train.decision.threshold"),
        ("[train.decision]\nthreshold = 'best'", "train.decision.threshold"),
        ("[train.decision]\nrecal_floor = 0.5", "train.decision.recal_floor"),
        ("[train.decision.cost]\nfalse_positive = -1", "train.decision.cost"),
        ("[train.decision]\nrecall_floor = 0.5\nmaximise = 'f1'", "recall_floor, maximise"),
    ],
)
def test_a_wrong_value_names_its_key(tmp_path: Path, text: str, key: str) -> None:
    with pytest.raises(InputError) as caught:
        load_project(write(tmp_path, text), environment={})
    assert key in str(caught.value)


@pytest.mark.parametrize("value", ["inf", "nan", "-1", "-1e-300"])
def test_no_number_of_the_server_is_endless_or_below_nothing(tmp_path: Path, value: str) -> None:
    hints = get_type_hints(ServeSection)
    keys = [key for key, kind in hints.items() if kind in (float, float | None)]
    assert len(keys) > 10
    for key in keys:
        with pytest.raises(ProjectError, match=f"serve.{key}"):
            load_project(write(tmp_path, f"[serve]\n{key} = {value}"), environment={})


def test_broken_toml_is_said_with_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, "[train\n")
    with pytest.raises(ProjectError, match="not valid TOML"):
        load_project(file, environment={})


def test_a_destination_overlays_and_the_environment_overrides_both(tmp_path: Path) -> None:
    file = write(tmp_path, "[serve]\nport = 1000\nhost = 'a'\n[data]\ntarget = 'y'")
    write(tmp_path, "[serve]\nport = 2000\nworkers = 3", "roadworthy.staging.toml")
    found = load_project(file, "staging", environment={"ROADWORTHY_SERVE_WORKERS": "4"})
    assert (found.serve.port, found.serve.host, found.serve.workers) == (2000, "a", 4)
    assert found.data.target == "y"


def test_a_missing_destination_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="no overlay"):
        load_project(write(tmp_path, ""), "nowhere", environment={})


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ('[serve]\ndialects = ["native"]', "azure, inference, invocations, kserve, vertex"),
        ('[package]\nformats = ["onnx", "onxx"]', "joblib, onnx, "),
        ('[deploy.prod]\ntarget = "aws"\nregion = "eu-west-1"\naccess = "rdp"', "ssh, ssm"),
        ('[data]\ntask = "guess"', "auto, "),
    ],
)
def test_a_word_that_is_none_of_a_few_is_answered_with_the_few(
    tmp_path: Path, text: str, fix: str
) -> None:
    file = tmp_path / "roadworthy.toml"
    file.write_text(text)
    with pytest.raises(ProjectError) as caught:
        load_project(str(file))
    assert f"it must be one of {fix}" in str(caught.value.fix)


def test_pyproject_is_read_where_there_is_no_file_of_its_own(tmp_path: Path, monkeypatch) -> None:
    write(tmp_path, "[tool.roadworthy.data]\ntarget = 'y'", "pyproject.toml")
    monkeypatch.chdir(tmp_path)
    assert load_project(environment={}).data.target == "y"


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("5m", 300), ("1h30m", 5400), (2.5, 2.5)]
)
def test_durations(text: str | float, seconds: float) -> None:
    assert parse_duration(text) == seconds


@given(st.text(max_size=12))
@example("1\x1f")
@example("\x1f2S")
def test_any_text_is_a_duration_above_zero_or_an_error(text: str) -> None:
    with contextlib.suppress(InputError):
        assert parse_duration(text) > 0


def test_validation_and_decisions_are_read_as_written(tmp_path: Path) -> None:
    text = """
[data]
weight = "w"
[train]
validation = "repeated"
class_weight = { yes = 5, no = 1.5 }
interval = 0.9
[train.decision]
positive = "yes"
cost = { false_negative = 5 }
"""
    found = load_project(write(tmp_path, text), environment={"ROADWORTHY_TRAIN_INTERVAL": "0.8"})
    assert found.data.weight == "w"
    assert found.train.class_weight == {"yes": 5.0, "no": 1.5}
    assert (found.train.validation, found.train.interval) == ("repeated", 0.8)
    assert found.train.decision.aims == ("cost",)
    assert found.train.decision.cost.false_positive == 1.0
    assert found.override("train", seed=3).train.decision == found.train.decision

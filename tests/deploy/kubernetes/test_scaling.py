"""The scaler that the manifests ask for, over real servers under a step of load."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from roadworthy.deploy.kubernetes import Settings, documents
from tests.conftest import Trained
from tests.deploy.kubernetes.scaling import Fleet, Scaler

IMAGE = "registry.example.org/adult:3f2a9c017d55"
MOST = 5


def scaler_of(**options: Any) -> Scaler:
    settings = Settings(name="adult", image=IMAGE, scale_on="concurrency", **options)
    [document] = [d for d in documents(settings) if d["kind"] == "HorizontalPodAutoscaler"]
    return Scaler(document)


def test_a_step_of_load_doubles_at_most_and_what_was_wanted_lately_is_kept() -> None:
    scaler = scaler_of(replicas=1, max_replicas=20, target=0.5)
    size, sizes = 1, []
    for load in [0.2] * 3 + [6.0] * 10 + [0.2] * 60:
        size = scaler.tick(size, [load / size] * size)
        sizes.append(size)
    assert sizes[:8] == [1, 1, 1, 2, 4, 8, 12, 12]
    assert sizes[12 : 12 + 20] == [12] * 20  # five minutes
    later = sizes[32:]
    assert later == sorted(later, reverse=True)
    assert later[-1] == 1
    assert min(b / a for a, b in zip(sizes[:-4], sizes[4:], strict=True) if b < a and a > 4) >= 0.5


def test_noise_within_the_tolerance_and_dips_do_not_change_the_replicas() -> None:
    scaler = scaler_of(replicas=1, max_replicas=20, target=0.5)
    size, sizes = 8, []
    for number in range(80):
        load = 4.0 * (1.08 if number % 2 else 0.93) * (0.2 if number % 7 == 0 else 1.0)
        size = scaler.tick(size, [load / size] * size)
        sizes.append(size)
    assert set(sizes) == {8}


@pytest.fixture
def fleet(versions: list[Trained]) -> Iterator[Fleet]:
    bundle = versions[0].bundle
    body = json.dumps([golden.row for golden in bundle.golden[:1]]).encode()
    fleet = Fleet(bundle.path, scaler_of(replicas=1, max_replicas=MOST, target=0.5), body)
    try:
        fleet.resize(1)
        yield fleet
    finally:
        fleet.close()


def test_real_servers_follow_a_step_of_load_without_flapping_and_lose_no_request(
    fleet: Fleet,
) -> None:
    scaler = fleet.scaler
    with fleet.load(6):
        fleet.begin()
        time.sleep(2.0)
        [busy] = fleet.values()
    assert busy > 0
    scaler.target = busy / 2.5  # however fast this machine is, the load is one of two to three

    def tick(seconds: float) -> int:
        fleet.begin()
        time.sleep(seconds)
        size = scaler.tick(len(fleet.ready), fleet.values())
        fleet.resize(size)
        return size

    with fleet.load(6):
        grown = [tick(1.0)]
        while len(grown) < 18 and not (len(grown) >= 4 and len(set(grown[-4:])) == 1):
            grown.append(tick(1.0))
    assert grown == sorted(grown)  # it never went back
    assert 2 <= grown[-1] <= MOST
    with fleet.load(1, pause=0.05):
        shrunk = [tick(0.15) for _ in range(30)]
        while shrunk[-1] > 1 and len(shrunk) < 300:  # a stall of this machine counts as load
            shrunk.append(tick(0.15))
    assert shrunk == sorted(shrunk, reverse=True)
    assert shrunk[:15] == [grown[-1]] * 15  # what was wanted in the last five minutes is kept
    assert shrunk[-1] == 1
    assert set(fleet.answered) == {200}
    assert len(fleet.answered) > 50

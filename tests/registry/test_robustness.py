"""Killed, crowded, full, cut off: nothing half-registered, nothing lost, the next call works."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from roadworthy.bundle import Bundle
from roadworthy.errors import OutsideError
from roadworthy.project import Project
from roadworthy.registry import Reference, leases, resolve
from roadworthy.registry.collecting import collect
from roadworthy.registry.fetching import fetch
from roadworthy.registry.opening import open_registry
from roadworthy.registry.registering import register
from tests.registry.bundles import make_bundle
from tests.registry.conftest import Postgres, registry_project

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["sqlite", "postgres"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Project:
    if request.param == "sqlite":
        return registry_project(tmp_path)
    server: Postgres = request.getfixturevalue("postgres")
    return registry_project(tmp_path, url=server.url)


def forked(work, *arguments: object) -> int:
    """A child process that does some work; its id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        work(*arguments)
        code = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def write_much(project: Project, folder: Path, writer: int) -> None:
    with open_registry(project) as registry:
        for number in range(3):
            bundle = make_bundle(folder / str(writer), 10 * writer + number)
            version, _ = register(registry, bundle)
            shared, _ = register(registry, make_bundle(folder / str(writer), 999))
            registry.promote(Reference("grades", version.version))
            registry.promote(Reference("grades", shared.version), "shared")
            registry.tag(Reference("grades", version.version), {"by": str(writer)})


def test_ten_processes_write_at_once_and_nothing_is_lost(either: Project, tmp_path: Path) -> None:
    children = [forked(write_much, either, tmp_path, writer) for writer in range(10)]
    assert [ended(child) for child in children] == [0] * 10
    with open_registry(either) as registry:
        assert len(registry.versions()) == 31
        entries = registry.check_history()
        actions = [entry.action for entry in entries]
        assert (actions.count("register"), actions.count("tag")) == (31, 30)
        assert actions.count("promote") == 31  # 30 champions; the shared one once
        for version in registry.versions():
            assert version.version == Bundle(fetch(registry, version)).version
        assert collect(registry, grace_hours=0).blobs == 0


def register_and_die(project: Project, folder: Path, number: int, point: int) -> None:
    """Register a bundle, and be killed when the given line of the registry is reached."""
    bundle = make_bundle(folder, number, f"grades{number}")
    left = point

    def count(frame, event: str, _):
        nonlocal left
        if "roadworthy" not in frame.f_code.co_filename:
            return None
        if event == "line":
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
        return count

    with open_registry(project) as registry:
        sys.settrace(count)
        register(registry, bundle)
        registry.promote(Reference(f"grades{number}"))
        sys.settrace(None)


def lines_of_a_registration(project: Project, folder: Path) -> int:
    seen = 0

    def count(frame, event: str, _):
        nonlocal seen
        if "roadworthy" not in frame.f_code.co_filename:
            return None
        seen += event == "line"
        return count

    bundle = make_bundle(folder, 0)
    with open_registry(project) as registry:
        sys.settrace(count)
        register(registry, bundle)
        registry.promote(Reference("grades"))
        sys.settrace(None)
    return seen


def test_killed_at_fifty_random_points_it_is_registered_or_not_and_the_next_call_works(
    either: Project, tmp_path: Path
) -> None:
    points = lines_of_a_registration(either, tmp_path / "first")
    assert points > 500
    choose, outcomes = random.Random(4), set()
    for number in range(1, 51):
        model, folder = f"grades{number}", tmp_path / str(number)
        point = choose.randint(1, points * 3 // 2)  # a fuller catalogue takes more lines
        killed = ended(forked(register_and_die, either, folder, number, point))
        with open_registry(either) as registry:
            registry.check_history()
            actions = tuple(entry.action for entry in registry.history(model))
            outcomes.add((killed == -signal.SIGKILL, actions))
            known = registry.versions(model)
            assert len(known) == ("register" in actions)
            for version in known:
                Bundle(fetch(registry, version))
            register(registry, make_bundle(folder, number, model))
            registry.promote(Reference(model))
    # Killed before, between and after: the points were spread over all of it.
    assert {(True, ()), (True, ("register",))} <= outcomes
    assert {actions for _, actions in outcomes} >= {("register", "promote")}
    with open_registry(either) as registry:
        assert len(registry.versions()) == 51
        assert len(registry.check_history()) == 102
        collect(registry, grace_hours=0)
        for version in registry.versions():
            Bundle(fetch(registry, version))
        assert leases_left(registry) == 0


def leases_left(registry) -> int:
    def work(connection) -> int:
        leases.held_blobs(connection)  # takes those of the dead away
        return len(connection.execute(leases.select(leases.leases)).all())

    return registry.catalogue.write(work)


def test_a_lease_of_a_dead_process_holds_nothing(project: Project, tmp_path: Path) -> None:
    with open_registry(project) as registry:
        register(registry, make_bundle(tmp_path, 1))
        old = register(registry, make_bundle(tmp_path, 0))[0]

        def hold() -> None:
            with open_registry(project) as other, leases.held(other.catalogue, old.blob):
                os.kill(os.getpid(), signal.SIGKILL)

        assert ended(forked(hold)) == -signal.SIGKILL
        first = registry.versions()[-1]
        with leases.held(registry.catalogue, first.blob):
            assert collect(registry, keep=1, grace_hours=0).versions == ()
        assert len(collect(registry, keep=1, grace_hours=0).versions) == 1


def test_a_full_disk_is_said_and_leaves_everything_as_it_was(tmp_path: Path) -> None:
    """Every file of the process is limited, first to less than a blob, then to a bit more."""
    program = """
import resource, signal, sys
from pathlib import Path
from roadworthy.errors import OutsideError
from roadworthy.registry.opening import open_registry
from roadworthy.registry.registering import register
from tests.registry.bundles import make_bundle
from tests.registry.conftest import registry_project

folder = Path(sys.argv[1])
project = registry_project(folder)
bundle = make_bundle(folder, 1)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
said = 0
for limit in range(0, 200_000, 4096):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        with open_registry(project) as registry:
            register(registry, bundle)
    except OutsideError:
        said += 1
    else:
        break
print(said)
"""
    run = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, cwd=ROOT
    )
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) > 3
    with open_registry(registry_project(tmp_path)) as registry:
        registry.check_history()
        register(registry, make_bundle(tmp_path, 2))
        for version in registry.versions():
            Bundle(fetch(registry, version))
        assert list(tmp_path.rglob(".draft-*")) == []


def test_a_full_disk_while_fetching_leaves_no_half_version_in_the_cache(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_registry(project) as registry:
        version, _ = register(registry, make_bundle(tmp_path))

        def full(_: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(OutsideError, match="No space left"):
                fetch(registry, version)
        assert list((tmp_path / "cache" / "versions").iterdir()) == []
        Bundle(fetch(registry, version))


def test_a_lost_connection_is_made_anew(postgres: Postgres, tmp_path: Path) -> None:
    project = registry_project(tmp_path, url=postgres.url)
    with open_registry(project) as registry:
        register(registry, make_bundle(tmp_path, 1))
        for number in range(2, 6):
            postgres.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'roadworthy'"
            )
            register(registry, make_bundle(tmp_path, number))
        assert len(registry.check_history()) == 5


def test_a_connection_lost_in_the_middle_of_a_change_does_it_once(
    postgres: Postgres, tmp_path: Path
) -> None:
    project = registry_project(tmp_path, url=postgres.url)
    with open_registry(project) as registry:
        version, _ = register(registry, make_bundle(tmp_path, 1))
        stop = threading.Event()

        def disturb() -> None:
            while not stop.is_set():
                postgres.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE application_name = 'roadworthy'"
                )
                time.sleep(0.15)

        thread = threading.Thread(target=disturb)
        thread.start()
        done = 0
        try:
            for number in range(20):
                try:
                    registry.tag(Reference("grades", version.version), {"n": str(number)})
                except OutsideError:
                    continue
                done += 1
        finally:
            stop.set()
            thread.join()
        tagged = [entry for entry in registry.check_history() if entry.action == "tag"]
        assert len({entry.details for entry in tagged}) == len(tagged) >= done > 0


def test_a_database_that_is_down_is_said_and_comes_back(postgres: Postgres, tmp_path: Path) -> None:
    project = registry_project(tmp_path, url=postgres.url)
    with open_registry(project) as registry:
        register(registry, make_bundle(tmp_path, 1))
        postgres.stop()
        try:
            with pytest.raises(OutsideError, match="catalogue cannot be used"):
                register(registry, make_bundle(tmp_path, 2))
        finally:
            postgres.start()
        register(registry, make_bundle(tmp_path, 2))
        assert len(registry.check_history()) == 2


def test_downloads_and_collection_at_once_never_lose_what_is_in_use(
    project: Project, tmp_path: Path
) -> None:
    with open_registry(project) as registry:
        for number in range(6):
            register(registry, make_bundle(tmp_path, number))

    def gather() -> None:
        with open_registry(project) as registry:
            for _ in range(20):
                collect(registry, grace_hours=0)

    def put_again() -> None:
        with open_registry(project) as registry:
            for number in range(6, 16):
                version, _ = register(registry, make_bundle(tmp_path / "more", number))
                Bundle(fetch(registry, version))

    children = [forked(gather), forked(put_again), forked(gather)]
    assert [ended(child) for child in children] == [0, 0, 0]
    with open_registry(project) as registry:
        for version in registry.versions():
            Bundle(fetch(registry, version))
    assert Bundle(resolve("grades", project))

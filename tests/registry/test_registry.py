"""The registry as its users know it: names, aliases, tags, roll-back, history, garbage."""

from __future__ import annotations

import datetime
import json
import shutil
from pathlib import Path

import pytest
from sqlalchemy import delete, text, update

from roadworthy.bundle import Bundle, sealing, verify
from roadworthy.bundle.keys import open_signer
from roadworthy.bundle.sign import sign_bundle
from roadworthy.errors import CheckFailed, InputError, OutsideError
from roadworthy.project import Project
from roadworthy.registry import Reference, parse_reference, resolve
from roadworthy.registry.collecting import collect
from roadworthy.registry.fetching import fetch
from roadworthy.registry.leases import held
from roadworthy.registry.ledger import parse_moment
from roadworthy.registry.opening import open_registry
from roadworthy.registry.registering import register
from roadworthy.registry.registry import Registry
from roadworthy.registry.schema import aliases, ledger, versions
from tests.bundle.test_signature import make_key
from tests.registry.bundles import make_bundle
from tests.registry.conftest import Postgres, registry_project


@pytest.fixture(params=["sqlite", "postgres"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Project:
    if request.param == "sqlite":
        return registry_project(tmp_path)
    server: Postgres = request.getfixturevalue("postgres")
    return registry_project(tmp_path, url=server.url)


def put(registry: Registry, folder: Path, number: int, **options: object) -> str:
    return register(registry, make_bundle(folder, number), **options)[0].version


def test_a_version_is_registered_once_and_found_by_every_name(
    either: Project, tmp_path: Path
) -> None:
    with open_registry(either) as registry:
        bundle = make_bundle(tmp_path)
        version, fresh = register(registry, bundle, tags={"audited": "yes"})
        assert fresh
        assert register(registry, bundle) == (version, False)
        assert version.version == Bundle(bundle).version
        assert (version.data, version.code) == ("0" * 64, "c0ffee")
        assert version.metrics["accuracy"] == pytest.approx(0.9, abs=0.1)
        registry.promote(Reference("grades"))
        assert len(registry.history()) == 2
    for name in ("grades", "grades@champion", f"grades:{version.version[:8]}"):
        path = resolve(name, either)
        assert Bundle(path).version == version.version
        assert resolve(name, either) == path  # the second time from the cache


def test_a_plain_name_is_the_champion_or_else_the_newest(project: Project, tmp_path: Path) -> None:
    with open_registry(project) as registry:
        one, two = put(registry, tmp_path, 1), put(registry, tmp_path, 2)
        assert registry.find(Reference("grades")).version == two
        registry.promote(Reference("grades", one))
        assert registry.find(Reference("grades")).version == one


def test_what_does_not_exist_is_said(project: Project, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing is registered here yet"):
        resolve("grades", project)
    assert not (tmp_path / "catalogue.db").exists()  # looking makes nothing
    with open_registry(project) as registry:
        one, two = put(registry, tmp_path, 1), put(registry, tmp_path, 2)
        with pytest.raises(InputError, match="no such version"):
            registry.find(Reference("grades", "ffffffff"))
        with pytest.raises(InputError, match="versions begin"):
            registry.find(Reference("grades", ""))
    for name, words in [
        ("nobody", "no model 'nobody'"), ("grades@none", "no such version or alias"),
        ("grades:xyz", "no such file"), ("what is this", "no such file"),
        ("grades@UPPER", "cannot be an alias"),
    ]:  # fmt: skip
        with pytest.raises(InputError, match=words):
            resolve(name, project)
    assert one != two


@pytest.mark.parametrize("name", ["a:b:c", "", "@", ":", "a@", "a:", ".a", "a b", "a@b c", "a:12"])
def test_what_is_no_reference_is_refused(name: str) -> None:
    with pytest.raises(InputError):
        parse_reference(name)


def test_rolling_back_goes_back_step_by_step(either: Project, tmp_path: Path) -> None:
    with open_registry(either) as registry:
        numbers = [put(registry, tmp_path, n) for n in (1, 2, 3)]
        for version in numbers:
            registry.promote(Reference("grades", version), verdict="passed")
        assert registry.promote(Reference("grades", numbers[2])).version == numbers[2]
        assert [each.version for each in registry.roll_back("grades")] == [numbers[2], numbers[1]]
        assert registry.roll_back("grades")[1].version == numbers[0]
        with pytest.raises(InputError, match="stood for nothing before"):
            registry.roll_back("grades")
        registry.promote(Reference("grades", numbers[2]))
        assert registry.roll_back("grades")[1].version == numbers[0]
        registry.check_history()


def test_lineage_says_the_parent_the_data_and_the_code(project: Project, tmp_path: Path) -> None:
    with open_registry(project) as registry:
        one = put(registry, tmp_path, 1)
        registry.promote(Reference("grades"))
        two = register(registry, make_bundle(tmp_path, 2))[0]
        three = register(
            registry, make_bundle(tmp_path, 3), parent=Reference("grades", two.version)
        )[0]
        assert (two.parent, three.parent) == (one, two.version)


def test_history_says_what_was_champion_then(project: Project, tmp_path: Path) -> None:
    with open_registry(project) as registry:
        one, two = put(registry, tmp_path, 1), put(registry, tmp_path, 2)
        registry.promote(Reference("grades", one), verdict="passed")
        registry.promote(Reference("grades", two))
        registry.roll_back("grades")
        entries = registry.history("grades")
    from roadworthy.registry.ledger import aliases_at

    champions = [aliases_at(entries, each.at).get(("grades", "champion")) for each in entries]
    assert champions == [None, None, one, two, one]
    assert entries[2].verdict == "passed"
    assert aliases_at(entries, parse_moment("2020-05-01")) == {}
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    assert aliases_at(entries, parse_moment(today)) == {("grades", "champion"): one}


@pytest.mark.parametrize("text", ["", "soon", "2026-13-01", "2026-05-01T99", "0001-01-01T00:00+14"])
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="not a date"):
        parse_moment(text)


TAMPERING = {
    "edit": update(ledger).where(ledger.c.number == 2).values(who="nobody"),
    "delete": delete(ledger).where(ledger.c.number == 2),
    "reorder": text(
        "UPDATE roadworthy_ledger SET number = CASE number WHEN 2 THEN -3 WHEN 3 THEN -2 END "
        "WHERE number IN (2, 3)"
    ),
    "truncation": delete(ledger).where(ledger.c.number >= 3),
    "alias": update(aliases).values(version="VERSION"),
    "blob": update(versions).values(blob="0" * 64),
}


@pytest.mark.parametrize("how", TAMPERING)
def test_tampering_is_detected(project: Project, tmp_path: Path, how: str) -> None:
    with open_registry(project) as registry:
        one, two = put(registry, tmp_path, 1), put(registry, tmp_path, 2)
        registry.promote(Reference("grades", one))
        registry.promote(Reference("grades", two))
        assert len(registry.check_history()) == 4
        statement = TAMPERING[how]
        if how == "alias":
            statement = update(aliases).values(version=one)
        registry.catalogue.write(lambda connection: connection.execute(statement) and None)
        if how == "reorder":
            registry.catalogue.write(
                lambda connection: connection.execute(
                    text("UPDATE roadworthy_ledger SET number = -number WHERE number < 0")
                ) and None
            )  # fmt: skip
        with pytest.raises(CheckFailed, match=r"tampered|not what the ledger says"):
            registry.check_history()


def test_a_cut_off_end_shows_against_a_head_that_was_written_down(
    project: Project, tmp_path: Path
) -> None:
    with open_registry(project) as registry:
        put(registry, tmp_path, 1)
        head = registry.history()[-1]
        registry.catalogue.write(lambda connection: connection.execute(delete(ledger)) and None)
        shutil.rmtree(registry.cache / "heads")  # a machine that knows nothing
        with pytest.raises(CheckFailed, match="1 entries were on record"):
            registry.check_history((head.number, head.digest))


def test_garbage_collection_takes_only_what_nothing_holds(either: Project, tmp_path: Path) -> None:
    with open_registry(either) as registry:
        made = [put(registry, tmp_path, n) for n in range(8)]
        ref = [Reference("grades", version) for version in made]
        registry.promote(ref[0], "old")
        registry.promote(ref[1])
        registry.promote(ref[2])  # a roll-back would lead to 1
        registry.tag(ref[3], {"audited": ""})
        registry.record_deployment(ref[4], "production")
        with held(registry.catalogue, registry.find(ref[5]).blob):
            said = collect(registry, keep=1, grace_hours=0, dry=True)
            taken = collect(registry, keep=1, grace_hours=0)
        assert said == taken
        assert taken.versions == (f"grades:{made[6][:12]}",)
        left = {each.version for each in registry.versions()}
        assert left == {*made} - {made[6]}
        assert collect(registry, grace_hours=0).blobs == 0
        for version in left:
            Bundle(fetch(registry, registry.find(Reference("grades", version))))
        registry.retire("grades", "production")
        registry.remove_alias("grades", "old")
        registry.tag(ref[3], {}, ["audited"])
        assert len(collect(registry, keep=1, grace_hours=0).versions) == 4  # 0, 3, 4, 5
        registry.check_history()


def test_what_is_young_is_left_alone(project: Project, tmp_path: Path) -> None:
    with open_registry(project) as registry:
        for n in range(3):
            put(registry, tmp_path, n)
        registry.store.put("ab" * 32, (tmp_path / "catalogue.db").open("rb"))
        assert collect(registry, keep=1).versions == ()
        assert collect(registry).blobs == 0
        assert collect(registry, grace_hours=0).blobs == 1  # a blob that no version has


def test_a_damaged_blob_is_refused_and_registering_again_puts_a_lost_one_back(
    project: Project, tmp_path: Path
) -> None:
    with open_registry(project) as registry:
        version = register(registry, make_bundle(tmp_path))[0]
        blob = tmp_path / "blobs" / version.blob[:2] / version.blob
        content = bytearray(blob.read_bytes())
        content[len(content) // 2] ^= 1
        blob.write_bytes(content)
        with pytest.raises(CheckFailed, match="not what was registered"):
            fetch(registry, version)
        blob.unlink()
        with pytest.raises(CheckFailed, match="not in the store"):
            fetch(registry, version)
        assert register(registry, make_bundle(tmp_path))[1] is False
        Bundle(fetch(registry, version))
        registry.check_history()


def test_a_damaged_cache_is_fetched_anew(project: Project, tmp_path: Path) -> None:
    with open_registry(project) as registry:
        version = register(registry, make_bundle(tmp_path))[0]
        place = fetch(registry, version)
        for damage in (
            lambda: (place / "plan.json").write_text("{}"),
            lambda: (place / "plan.json").unlink(),
            lambda: (shutil.rmtree(place), place.write_text("")),
            lambda: (place.unlink() if place.is_file() else shutil.rmtree(place), place.mkdir()),
        ):
            damage()
            assert fetch(registry, version) == place
            verify(place)


def test_a_swapped_blob_of_another_version_is_refused(project: Project, tmp_path: Path) -> None:
    with open_registry(project) as registry:
        one, two = put(registry, tmp_path, 1), put(registry, tmp_path, 2)
        blob = registry.find(Reference("grades", two)).blob
        change = update(versions).where(versions.c.version == one).values(blob=blob)
        registry.catalogue.write(lambda connection: connection.execute(change) and None)
        with pytest.raises(CheckFailed, match="not what was registered"):
            fetch(registry, registry.find(Reference("grades", one)))


def test_only_signed_bundles_come_in_and_go_out_when_keys_are_trusted(
    project: Project, tmp_path: Path
) -> None:
    private, public = make_key(tmp_path)
    bundle = make_bundle(tmp_path)
    strict = project.override("registry", trusted_keys=(public,))
    with open_registry(project) as registry:
        unsigned = register(registry, bundle)[0]
    with open_registry(strict) as registry:
        with pytest.raises(CheckFailed, match="not signed"):
            register(registry, bundle)
        with pytest.raises(CheckFailed, match="not signed"):
            resolve("grades", strict)
        sign_bundle(bundle, open_signer(private))
        signed, fresh = register(registry, bundle)  # the signature comes to what is there
        assert (signed.version, fresh) == (unsigned.version, False)
        assert [each.action for each in registry.history()] == ["register", "sign"]
        verify(resolve("grades", strict), trusted_keys=[public])
        registry.check_history()
    with open_registry(project) as registry:  # an unsigned copy takes nothing away
        assert register(registry, make_bundle(tmp_path / "again"))[0].signer == signed.signer


def test_blobs_and_cache_stay_sealed(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = make_key(tmp_path, "ops", "x25519")
    closed = project.override("registry", recipients=(public,))
    with open_registry(closed) as registry:
        bundle = make_bundle(tmp_path)
        version, _ = register(registry, bundle)
        assert version.sealed
        assert register(registry, bundle) == (version, False)  # sealed anew, kept as it was
        assert len(list(registry.store.blobs())) == 1
    with pytest.raises(InputError, match="no key at hand opens"):
        resolve("grades", closed)
    monkeypatch.setenv(sealing.IDENTITY, private)
    path = resolve("grades", closed)
    Bundle(path).check_golden()
    assert resolve("grades", closed) == path
    for folder in (tmp_path / "blobs", tmp_path / "cache"):
        stored = b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())
        assert b"colour" not in stored


def test_an_older_catalogue_is_brought_up_to_date_and_a_newer_one_refused(
    project: Project, tmp_path: Path
) -> None:
    import sqlite3

    dump = (Path(__file__).parent / "data" / "catalogue-1.sql").read_text()
    with sqlite3.connect(tmp_path / "catalogue.db") as old:
        old.executescript(dump)
    old.close()
    with open_registry(project) as registry:
        known = registry.versions()
        assert [each.signer for each in known] == [None, None]
        assert registry.find(Reference("grades")).aliases == ("champion",)
        assert len(registry.check_history()) == 5
        registry.record_deployment(Reference("grades"), "production")
        registry.check_history()
    with sqlite3.connect(tmp_path / "catalogue.db") as newer:
        newer.execute("UPDATE roadworthy_schema SET number = 99")
    newer.close()
    with pytest.raises(InputError, match="schema 99"):
        open_registry(project).__enter__()


def test_an_old_bundle_is_registered_and_still_predicts(project: Project) -> None:
    from tests.registry.bundles import OLD_BUNDLE

    with open_registry(project) as registry:
        version, _ = register(registry, OLD_BUNDLE)
        assert (version.data, version.code) == (None, None)
    Bundle(resolve("grades", project)).check_golden()


def test_addresses_that_are_wrong_are_said(tmp_path: Path) -> None:
    for options, words in [
        ({"url": "sqlite://"}, "needs a file"),
        ({"url": f"sqlite:///{tmp_path}"}, "cannot be used"),
        ({"url": "postgresql://models:secret@127.0.0.1:1/none"}, "cannot be used"),
        ({"store": "s3://"}, "cannot be used"),
    ]:
        project = registry_project(tmp_path, **options)
        with pytest.raises((InputError, OutsideError), match=words) as caught:
            open_registry(project).__enter__()
        assert "secret" not in str(caught.value)


def test_a_project_with_a_wrong_address_is_refused() -> None:
    for key, value in [("url", "mysql://x"), ("store", "ftp://x"), ("trusted_keys", [""])]:
        with pytest.raises(InputError, match=f"registry.{key}"):
            Project().override("registry", **{key: value})


def test_the_ledger_is_plain_json(project: Project, tmp_path: Path) -> None:
    with open_registry(project) as registry:
        put(registry, tmp_path, 1)
        details = json.loads(registry.history()[0].details)
    assert set(details) == {"blob", "signer", "data", "code"}

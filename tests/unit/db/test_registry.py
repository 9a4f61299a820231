"""The registry's file: migrations, one writer, read-only readers, packed metrics."""

import sqlite3

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

from studio.db import comparisons, datasets, jobs, metrics, models, reserve
from studio.db.engine import HEAD, Reader, Writer, next_change
from studio.db.jobs import NewJob
from studio.db.migrate import config, upgrade
from studio.db.queue import next_checkpoint_number
from studio.db.tables import Base
from studio.errors import Failure, UnknownName


@pytest.fixture
def writer(tmp_path):
    made = Writer(tmp_path / "registry.sqlite")
    yield made
    made.close()


def a_job(session) -> int:
    return jobs.add_job(session, NewJob(kind="train", title="t", values={}, needs_device=True))


def test_head_is_the_newest_migration():
    assert ScriptDirectory.from_config(config()).get_current_head() == HEAD


def test_migrations_lead_to_the_tables(writer):
    with writer.begin() as session:
        differences = compare_metadata(MigrationContext.configure(session.connection()), Base.metadata)
    assert differences == []


def test_a_registry_of_before_keeps_its_runs_and_gives_no_number_again(tmp_path):
    file = tmp_path / "registry.sqlite"
    engine = create_engine(f"sqlite:///{file}")
    upgrade(engine, "0003")
    names = 'id, kind, title, state, reason_values, wish_number, position, needs_device, "values", chosen, figures'
    names += ", attempt, last_metrics, change, created_at"
    row = "7, 'train', 'old', 'failed', '{}', 0, 1, 1, '{\"seed\": 3}', '[]', '{}', 1, '{}', 4, '2026-01-01'"
    with engine.begin() as connection:
        connection.exec_driver_sql(f"INSERT INTO jobs ({names}) VALUES ({row})")
        asked = """'chat', '[{"model": "m", "checkpoint": 9, "title": "t"}]', '{}', '2026-01-01'"""
        connection.exec_driver_sql(f"INSERT INTO comparisons (kind, columns, settings, created_at) VALUES ({asked})")
    engine.dispose()
    writer = Writer(file)
    with writer.begin() as session:
        old = jobs.job(session, 7)
        assert (old.values, old.is_archived, old.wanted_device, old.disk_bytes) == ({"seed": 3}, False, None, None)
        assert a_job(session) == 8
        assert next_checkpoint_number(session) == 10, "9 was deleted, and a chat still names it"
    writer.close()


def test_opening_again_changes_nothing(tmp_path, writer):
    with writer.begin() as session:
        a_job(session)
    writer.close()
    again = Writer(tmp_path / "registry.sqlite")
    with again.begin() as session:
        assert len(jobs.list_jobs(session)) == 1
    again.close()


def test_a_reader_sees_but_cannot_write(tmp_path, writer):
    with writer.begin() as session:
        job_id = a_job(session)
    reader = Reader(tmp_path / "registry.sqlite")
    with reader.session() as session:
        assert jobs.job(session, job_id).state == "queued"
        with pytest.raises(OperationalError, match="readonly"):
            next_change(session)
    reader.close()


def test_a_reader_does_not_delete_the_wal_of_a_killed_writer(tmp_path, writer):
    with writer.begin() as session:
        a_job(session)
    wal = tmp_path / "registry.sqlite-wal"
    assert wal.stat().st_size > 0
    reader = Reader(tmp_path / "registry.sqlite")
    with reader.session() as session:
        assert len(jobs.list_jobs(session)) == 1
    reader.close()
    assert wal.stat().st_size > 0


def test_a_failed_transaction_leaves_nothing(writer):
    with pytest.raises(RuntimeError), writer.begin() as session:
        a_job(session)
        raise RuntimeError
    with writer.begin() as session:
        assert jobs.list_jobs(session) == []


def test_the_file_is_in_wal_mode_with_foreign_keys(tmp_path, writer):
    assert sqlite3.connect(tmp_path / "registry.sqlite").execute("PRAGMA journal_mode").fetchone() == ("wal",)
    with writer.begin() as session:
        assert session.connection().exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_the_change_number_moves_once_a_transaction(writer):
    with writer.begin() as session:
        first = next_change(session)
        assert next_change(session) == first
    with writer.begin() as session:
        assert next_change(session) == first + 1
        assert jobs.change(session) == first + 1


@pytest.mark.parametrize("batch", [1, 7, 512, 2000])
def test_metric_points_come_back_as_they_went_in(writer, batch):
    values = np.sin(np.arange(1300.0))
    with writer.begin() as session:
        job_id = a_job(session)
        for start in range(0, 1300, batch):
            some = [(step, float(values[step])) for step in range(start, min(start + batch, 1300))]
            metrics.append(session, job_id, 1, {"loss": some})
        series = metrics.points(session, job_id, "loss")
    assert series.steps.tolist() == list(range(1300))
    np.testing.assert_array_equal(series.values, values)


def test_only_new_metric_points_are_read_again(writer):
    with writer.begin() as session:
        job_id = a_job(session)
        metrics.append(session, job_id, 1, {"loss": [(step, 1.0) for step in range(600)]})
        end = metrics.points(session, job_id, "loss").end
        metrics.append(session, job_id, 1, {"loss": [(600, 2.0)]})
        metrics.append(session, job_id, 2, {"loss": [(590, float("nan"))]})
        new = metrics.points(session, job_id, "loss", after=end)
        nothing = metrics.points(session, job_id, "loss", after=new.end)
    assert new.steps.tolist() == [600, 590]
    assert new.attempts.tolist() == [1, 2]
    assert np.isnan(new.values[1])
    assert nothing.steps.size == 0
    assert nothing.end == new.end


def test_unknown_names_say_what_is_known(writer):
    with writer.begin() as session:
        models.add_model(
            session,
            name="small",
            source="local",
            path="/models/small",
            facts={"architecture": "LlamaForCausalLM", "size_bytes": 1, "content_hash": "x"},
        )
        with pytest.raises(UnknownName, match="small"):
            models.model(session, "smal")
        with pytest.raises(UnknownName):
            datasets.dataset(session, "nothing@3")
        with pytest.raises(UnknownName):
            jobs.job(session, 99)


def test_data_set_versions_and_rollback(writer):
    manifest = {"format": "messages", "shape": "chat", "rows": 3, "problems": 1, "excluded": 0, "content_hash": "h"}
    with writer.begin() as session:
        owner = datasets.reserve(session, "support")
        assert datasets.list_datasets(session) == []
        for number in (1, 2):
            assert datasets.next_number(session, owner) == number
            datasets.add_version(session, owner, number=number, path=f"v{number}", job_id=1, manifest=manifest)
        assert datasets.dataset(session, "support").version == 2
        assert datasets.dataset(session, "support@v1").version == 1
        datasets.set_current(session, owner, 1)
        assert [(each.version, each.is_current) for each in datasets.versions(session, "support")] == [
            (2, False),
            (1, True),
        ]
        assert datasets.list_datasets(session)[0].version == 1


def test_answers_grow_and_finished_ones_stay(writer):
    with writer.begin() as session:
        made = comparisons.add_comparison(session, kind="compare", columns=[{"model": "m"}], settings={})
        answer = comparisons.ask(session, made, column=0, prompt=0, messages=[{"role": "user", "content": "Hi"}])
        assert comparisons.num_prompts(session, made) == 1
        comparisons.update_answer(session, {"answer_id": answer, "text": "He", "done": False})
        assert comparisons.comparison(session, made).is_open
        comparisons.update_answer(session, {"answer_id": answer, "text": "Hello", "done": True, "tokens": 1})
        comparisons.update_answer(session, {"answer_id": answer, "text": "late", "done": False})
        view = comparisons.comparison(session, made)
    assert (view.is_open, view.answers[0].text, view.prompts) == (False, "Hello", ["Hi"])


def test_the_room_that_is_kept_back_is_given_up_on_a_full_disk_and_taken_again(tmp_path, monkeypatch):
    file = tmp_path / "registry.sqlite"
    writer = Writer(file, reserve_bytes=1 << 20)
    with writer.begin() as session:
        a_job(session)
    held = tmp_path / "registry.reserve"
    assert held.stat().st_size == 1 << 20 and held.stat().st_blocks > 0, "room, not a hole"
    with pytest.raises(Failure) as full, writer.begin():
        raise sqlite3.OperationalError("database or disk is full")
    assert full.value.code == "registry.full" and not held.exists()
    free = reserve.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(reserve.shutil, "disk_usage", lambda place: free._replace(free=8 << 20))
    with writer.begin() as session:
        assert a_job(session) == 2, "the next one goes through"
    assert not held.exists(), "there is little room yet"
    monkeypatch.setattr(reserve.shutil, "disk_usage", lambda place: free)
    with writer.begin() as session:
        a_job(session)
    assert held.exists()
    writer.close()

"""Runs are found without the wide rows being read: what SQLite says it will do for each look at the list."""

from pathlib import Path

import pytest
from sqlalchemy import event

from studio.db import jobs, runs
from studio.db.engine import Writer
from studio.db.runs import Wanted
from studio.jobs.lifecycle import LIVE
from tests.app.seeding import add_run, add_starter

LOOKS = {
    "all": lambda session: runs.find_runs(session, Wanted()),
    "state": lambda session: runs.find_runs(session, Wanted(state="failed")),
    "tag": lambda session: runs.find_runs(session, Wanted(tag="night")),
    "model": lambda session: runs.find_runs(session, Wanted(model="starter")),
    "dataset": lambda session: runs.find_runs(session, Wanted(dataset="support")),
    "archive": lambda session: runs.find_runs(session, Wanted(is_archived=True)),
    "largest": lambda session: runs.find_runs(session, Wanted(is_largest_first=True)),
    "words": lambda session: runs.find_runs(session, Wanted(text="first")),
    "number": lambda session: runs.find_runs(session, Wanted(text="3")),
    "choices": runs.choices,
    "queue": jobs.waiting,
    "count": jobs.num_waiting,
    "live": jobs.live,
    "live of a kind": lambda session: jobs.list_jobs(session, kinds=("prepare",), states=LIVE),
    "newest": lambda session: jobs.list_jobs(session, kinds=("train",), limit=50),
}
BY_INDEX = ("USING COVERING INDEX", "USING INDEX", "USING INTEGER PRIMARY KEY")


@pytest.mark.parametrize("look", LOOKS)
def test_no_look_reads_every_run(tmp_path: Path, look: str) -> None:
    writer = Writer(tmp_path / "registry.sqlite")
    with writer.begin() as session:
        model = add_starter(session)
        for number in range(40):
            job_id = add_run(session, title=f"first {number}", state="failed", model_id=model)
            runs.add_tag(session, job_id, "night")
    asked: list[tuple[str, tuple]] = []
    with writer.begin() as session:
        connection = session.connection()

        def note(connection, cursor, statement, parameters, context, executemany):
            if statement.startswith("SELECT"):
                asked.append((statement, parameters))

        event.listen(connection, "before_cursor_execute", note)
        LOOKS[look](session)
        event.remove(connection, "before_cursor_execute", note)
        plans = [
            (row[-1], statement)
            for statement, parameters in asked
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]
    reading = [
        (step, statement) for step, statement in plans if " jobs" in step and step.startswith(("SCAN", "SEARCH"))
    ]
    assert reading, "it does look at the runs"
    assert [each for each in reading if not any(how in each[0] for how in BY_INDEX)] == []
    narrowed = [step for step, statement in reading if "count(*)" in statement]
    assert all("COVERING" in step for step in narrowed), narrowed
    writer.close()

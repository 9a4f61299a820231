"""The job that has models write rows and judge them, on a tiny model: its path, not its words."""

import pytest

from studio.workshop.adding.writing import Draft, Parent
from studio.workshop.adding.written import read_candidates, read_report
from tests.trainers.jobs import ask, events_of, result_of, run_here, start, wait_until, write_spec
from tests.unit.workshop.making import pair, version
from trainers import write
from trainers.write import _refuse_known

ROWS = [pair(f"Question {n}?", f"Answer {n}.") for n in range(6)]


def values(folder, model, **chosen):
    someone = {"title": "tiny", "place": {"model_path": str(model), "adapter_path": None, "load_in_4bit": False}}
    asked = {"kind": "base", "writer": someone, "judges": [], "count": 3, "requirement": "", "seed": 1}
    source = {"name": "data", "number": 2, "version": str(folder), "content_hash": "x", "report": "there"}
    return asked | source | {"max_new_tokens": 16} | {key: value or [someone] for key, value in chosen.items()}


@pytest.fixture
def rows(tmp_path):
    return version(tmp_path / "v1", ROWS, splits={n: "train" if n < 5 else "test" for n in range(1, 7)})


@pytest.mark.parametrize("kind", ["base", "backtranslate", "write"])
def test_every_row_asked_about_is_a_candidate_with_its_reason(tmp_path, rows, tiny, kind):
    folder = write_spec(tmp_path / "job", kind="write", values=values(rows, tiny, kind=kind, judges=None))
    result = run_here(write.main, folder)
    assert result.outcome == "succeeded", result
    report = read_report(tmp_path / "job" / "output" / "report")
    found = read_candidates(tmp_path / "job" / "output" / "report")
    assert (report.kind, report.asked, report.judges, report.judged_itself) == (kind, 3, ("tiny",), True)
    assert [each.number for each in found] == [1, 2, 3] and all(each.parent <= 4 for each in found)
    assert all(each.accepted == (each.code is None) for each in found)
    assert report.accepted == sum(each.accepted for each in found)
    assert sum(report.refused.values()) == 3 - report.accepted
    assert result.figures == {"report": "there", "candidates": report.candidates, "accepted": report.accepted}
    phases = [event.data["name"] for event in events_of(folder, "phase")]
    assert phases[-2:] == ["data.written.write", "data.written.judge"]
    assert events_of(folder, "progress")[0].data["unit"] == "answers"


def test_a_stop_ends_it_at_once_and_leaves_nothing(tmp_path, rows, tiny):
    wanted = values(rows, tiny) | {"count": 1000, "max_new_tokens": 200}
    folder = write_spec(tmp_path / "job", kind="write", values=wanted)
    process = start("trainers.write", folder)
    wait_until(lambda: events_of(folder, "progress"), process)
    ask(folder, "stop")
    process.wait(20)
    assert result_of(folder).outcome == "stopped"
    assert not (tmp_path / "job" / "output" / "report").exists()


def test_a_model_that_is_gone_ends_the_job_with_its_reason(tmp_path, rows):
    folder = write_spec(tmp_path / "job", kind="write", values=values(rows, tmp_path / "gone"))
    result = run_here(write.main, folder)
    assert (result.outcome, result.reason) == ("failed", "job.answer_model_missing")


def test_what_some_row_asks_already_is_no_candidate(rows):
    parents = [Parent(row=n, turns=[], question=f"Question {n - 1}?", answer="a") for n in (1, 2, 3)]
    drafts = [Draft("Question 5?", "x"), "empty", Draft("Something else altogether?", "y")]
    _refuse_known(rows, "write", parents, drafts)
    assert drafts == ["known", "empty", Draft("Something else altogether?", "y")]
    same = [Draft("Question 0?", "x")]
    _refuse_known(rows, "backtranslate", parents[:1], same)
    assert same == ["known"]
    _refuse_known(rows, "base", parents[:1], kept := [Draft("Question 0?", "x")])
    assert kept == [Draft("Question 0?", "x")]

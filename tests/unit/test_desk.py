"""The desk's verbs on a real registry, without the threads that would carry them out."""

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from studio.db import comparisons, datasets, jobs, models
from studio.db.engine import Writer
from studio.desk import Desk
from studio.desk_asking import MAX_COLUMNS, SETTINGS
from studio.errors import Conflict, RefusedInput, SpecRefused, UnknownName
from studio.paths import Workspace

MANIFEST = {"format": "messages", "shape": "chat", "rows": 3, "problems": 1, "excluded": 0, "content_hash": "h"}
FACTS = {"architecture": "LlamaForCausalLM", "size_bytes": 1, "content_hash": "x"}


class Counter:
    """A desk with a model and a data set on it, and shorthands."""

    def __init__(self, folder: Path) -> None:
        self.workspace = Workspace(folder / "studio").make()
        self.writer = Writer(self.workspace.registry)
        self.desk = Desk(self.workspace, self.writer)
        with self.writer.begin() as session:
            models.add_model(session, name="small", source="local", path="/models/small", facts=FACTS)
            owner = datasets.reserve(session, "support")
            datasets.add_version(session, owner, number=1, path="v1", job_id=1, manifest=MANIFEST)

    def job(self, job_id: int) -> jobs.JobView:
        with self.writer.begin() as session:
            return jobs.job(session, job_id)

    def view(self, number: int) -> comparisons.ComparisonView:
        with self.writer.begin() as session:
            return comparisons.comparison(session, number)

    def answer(self, number: int, text: str) -> None:
        with self.writer.begin() as session:
            for answer in comparisons.comparison(session, number).answers:
                comparisons.update_answer(session, {"answer_id": answer.id, "text": text, "done": True})


@pytest.fixture
def counter(tmp_path):
    made = Counter(tmp_path)
    yield made
    made.writer.close()


def test_an_import_is_a_job_that_names_its_file(counter, tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"prompt": "a", "completion": "b"}\n')
    job = counter.job(counter.desk.import_dataset(file, "my rows"))
    assert (job.kind, job.state, job.values["source"]) == ("prepare", "queued", str(file))


@pytest.mark.parametrize("name", ["", "../up", "a/b", "-x" * 40, ".hidden"])
def test_a_name_that_could_be_a_path_is_refused(counter, tmp_path, name):
    (tmp_path / "rows.jsonl").write_text("{}")
    with pytest.raises(RefusedInput):
        counter.desk.import_dataset(tmp_path / "rows.jsonl", name)


def test_missing_and_empty_files_are_refused_before_a_job(counter, tmp_path):
    (tmp_path / "empty.jsonl").touch()
    for file in ("empty.jsonl", "nothing.jsonl"):
        with pytest.raises(RefusedInput, match=file):
            counter.desk.import_dataset(tmp_path / file, "rows")


def test_a_full_disk_is_a_sentence_with_both_figures(counter, tmp_path, monkeypatch):
    (tmp_path / "rows.jsonl").write_text("{}")
    usage = namedtuple("usage", "total used free")(1 << 40, 1 << 40, 3 << 28)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(RefusedInput, match=r"Only 0.8 GiB .* 1.0 GiB"):
        counter.desk.import_dataset(tmp_path / "rows.jsonl", "rows")


def test_two_changes_of_one_data_set_do_not_start_from_the_same_version(counter):
    counter.desk.revise_dataset("support", exclude=[2])
    with pytest.raises(Conflict, match="support"):
        counter.desk.revise_dataset("support", exclude=[3])


def test_all_unknown_names_of_a_spec_are_told_together(counter):
    with pytest.raises(SpecRefused) as refused:
        counter.desk.train({"model_name_or_path": "smal", "dataset": "suport"})
    assert [fault.field for fault in refused.value.faults] == ["model_name_or_path", "dataset"]
    assert "small" in str(refused.value) and "support" in str(refused.value)


def test_an_inspection_is_asked_once(counter):
    first = counter.desk.inspect("small", "support")
    assert counter.desk.inspect("small", "support") == first
    with counter.writer.begin() as session:
        models.keep_inspection(session, "x", "h", {"inventory": {}})
    assert counter.desk.inspect("small", "support") is None


def test_a_hub_id_is_fetched_and_a_path_is_not(counter):
    job = counter.job(counter.desk.fetch_model("owner/small-model"))
    assert (job.kind, job.values) == ("fetch", {"model": "owner/small-model", "name": "small-model"})
    for wrong in ("/no/such/folder", "../up", "name", "https://x/y/z"):
        with pytest.raises(RefusedInput):
            counter.desk.fetch_model(wrong)


def test_stopping_what_waits_cancels_it(counter):
    job_id = counter.desk.inspect("small")
    counter.desk.stop(job_id)
    assert counter.job(job_id).state == "cancelled"
    with pytest.raises(Conflict):
        counter.desk.stop(job_id)
    with pytest.raises(Conflict):
        counter.desk.resume(job_id)
    with pytest.raises(UnknownName):
        counter.desk.stop(99)


def test_only_an_ended_job_is_removed(counter):
    job_id = counter.desk.inspect("small")
    with pytest.raises(Conflict):
        counter.desk.remove(job_id)
    counter.desk.stop(job_id)
    counter.desk.remove(job_id)
    with pytest.raises(UnknownName):
        counter.job(job_id)


def test_a_comparison_asks_every_model_every_question_with_the_same_settings(counter):
    number = counter.desk.compare(
        [{"model": "small"}, {"model": "small"}], ["One?", " ", "Two?"], {"system": "Be brief."}
    )
    view = counter.view(number)
    assert view.settings == SETTINGS | {"system": "Be brief."}
    assert [(answer.prompt, answer.column) for answer in view.answers] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert view.answers[0].messages == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "One?"},
    ]


@pytest.mark.parametrize(
    ("columns", "prompts", "settings"),
    [
        ([{"model": "small"}], ["", " "], {}),
        ([], ["Hi"], {}),
        ([{"model": "small"}] * (MAX_COLUMNS + 1), ["Hi"], {}),
        ([{"model": "nobody"}], ["Hi"], {}),
        ([{"checkpoint": 7}], ["Hi"], {}),
        ([{"model": "small"}], ["Hi"], {"temperature": 9}),
        ([{"model": "small"}], ["Hi"], {"temperature": "hot"}),
        ([{"model": "small"}], ["Hi"], {"heat": 1}),
    ],
)
def test_a_comparison_that_cannot_be_is_refused_and_leaves_nothing(counter, columns, prompts, settings):
    with pytest.raises(RefusedInput):
        counter.desk.compare(columns, prompts, settings)
    with counter.writer.begin() as session:
        assert comparisons.list_comparisons(session) == []


def test_a_chat_carries_its_earlier_turns(counter):
    number = counter.desk.chat("Hello", column={"model": "small"})
    with pytest.raises(Conflict):
        counter.desk.chat("And?", comparison=number)
    counter.answer(number, "Good day.")
    counter.desk.chat("And?", comparison=number)
    last = counter.view(number).answers[-1]
    assert [turn["content"] for turn in last.messages] == ["Hello", "Good day.", "And?"]


def test_votes_are_kept_and_taken_back(counter):
    number = counter.desk.compare([{"model": "small"}], ["Hi"])
    answer = counter.view(number).answers[0].id
    counter.desk.vote(answer, "up")
    assert counter.view(number).answers[0].vote == "up"
    counter.desk.vote(answer, None)
    assert counter.view(number).answers[0].vote is None
    with pytest.raises(RefusedInput):
        counter.desk.vote(answer, "sideways")


def test_an_idle_desk_leaves_and_refuses_what_comes_after(counter):
    assert counter.desk.leave_if_idle()
    with pytest.raises(Conflict) as refused:
        counter.desk.inspect("small")
    assert refused.value.code == "server.leaving"


def test_a_busy_desk_and_one_with_a_browser_stay(counter):
    job_id = counter.desk.inspect("small")
    assert not counter.desk.leave_if_idle()
    counter.desk.stop(job_id)
    counter.desk.stay()
    assert not counter.desk.leave_if_idle()

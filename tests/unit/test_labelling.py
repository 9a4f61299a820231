"""The desk's verbs of labelling on real versions: sampling, marking, new versions in between, and what comes of it."""

import json
from pathlib import Path

import msgspec
import pytest

from studio.db import datasets, jobs, label_results, labels
from studio.db.engine import Writer
from studio.desk import Desk
from studio.errors import Conflict, RefusedInput, UnknownName
from studio.labelling import MAX_ROUND_ROWS
from studio.paths import SAMPLES, Workspace
from studio.workshop import recipe
from studio.workshop.cleaning import look
from studio.workshop.labelling import label_rows
from studio.workshop.labelling.apply_marks import from_job
from studio.workshop.labelling.mark_files import write_marks
from studio.workshop.labelling.marks import Filter, Judgement, Scale, good_bad, stars
from studio.workshop.reports import look_place, read_changes
from studio.workshop.versions.build import import_file, revise
from studio.workshop.versions.reader import read_manifest, read_problems, read_rows, rows_at

LABELS = Scale(kind="labels", values=("billing", "delivery"))


class Studio:
    """A desk with the data set `pairs` of twelve rows, and shorthands."""

    def __init__(self, folder: Path, rows: list[dict]) -> None:
        self.workspace = Workspace(folder / "studio").make()
        self.writer = Writer(self.workspace.registry)
        self.desk = Desk(self.workspace, self.writer)
        self.labelling = self.desk.labelling
        source = folder / "pairs.jsonl"
        source.write_text("".join(json.dumps(row) + "\n" for row in rows))
        import_file(source, folder / "v1")
        self.enter(folder / "v1")

    def enter(self, folder: Path, name: str = "pairs") -> None:
        manifest = msgspec.to_builtins(read_manifest(folder))
        with self.writer.begin() as session:
            owner = datasets.reserve(session, name)
            number = datasets.next_number(session, owner)
            datasets.add_version(session, owner, number=number, path=str(folder), job_id=1, manifest=manifest)

    def start(self, name: str = "first", **fields) -> int:
        return self.labelling.start_round("pairs", name, **{"scale": stars()} | fields)

    def say(self, round_id: int, who: str, rating: str | None, **fields) -> int:
        task = self.labelling.next_row(round_id, who)
        said = Judgement(annotator=who, rating=rating, **fields)
        self.labelling.mark(task.id, who, task.digest, said)
        return task.row

    def rows(self, round_id: int) -> list[int]:
        with self.writer.begin() as session:
            return labels.task_rows(session, round_id)

    def marks(self, round_id: int) -> list[label_results.MarkView]:
        with self.writer.begin() as session:
            return label_results.marks(session, round_id)

    def made_by(self, job_id: int, folder: Path) -> Path:
        """The version that the queued job makes, by the same function and values."""
        with self.writer.begin() as session:
            job = jobs.job(session, job_id)
        assert job.values["operation"] == "marks"
        values = json.loads(json.dumps(job.values))
        from_job(Path(values["parent"]), folder, values)
        return folder


@pytest.fixture(name="studio")
def fixture_studio(tmp_path):
    rows = [{"prompt": f"Question {n}?", "completion": f"Answer {n}."} for n in range(1, 13)]
    made = Studio(tmp_path, rows)
    yield made
    made.writer.close()


def test_samples(studio, tmp_path):
    assert studio.rows(studio.start("all")) == list(range(1, 13))
    assert studio.rows(studio.start("three", count=3)) == [1, 2, 3]
    some = [
        studio.rows(studio.start(f"random {n}", by="random", count=5, seed=seed)) for n, seed in enumerate((1, 1, 2))
    ]
    assert some[0] == some[1] != some[2]
    assert len(set(some[0])) == 5


def test_rows_that_a_look_named_are_a_sample(studio, tmp_path):
    with pytest.raises(RefusedInput, match="Look at it"):
        studio.start(by="findings")
    with pytest.raises(RefusedInput, match="check"):
        studio.start(by="disagreement")
    source = tmp_path / "web.jsonl"
    texts = ["Plain words.", "<p>Marked <b>up</b> text</p>", "More plain words."]
    source.write_text(
        "".join(json.dumps({"prompt": f"Question {n}?", "completion": it}) + "\n" for n, it in enumerate(texts))
    )
    import_file(source, tmp_path / "web")
    studio.enter(tmp_path / "web")
    noise = recipe.parse({"steps": [{"step": "noise"}]})
    look(tmp_path / "web", noise, look_place(studio.workspace, tmp_path / "web", noise))
    assert studio.rows(studio.start(by="findings")) == [2]


@pytest.mark.parametrize(
    "fields",
    [
        {"name": " "},
        {"name": "x" * 65},
        {"num_annotators": 0},
        {"num_annotators": True},
        {"count": MAX_ROUND_ROWS + 1},
        {"by": "mood"},
        {"scale": Scale(kind="labels", values=("one",))},
        {"scale": Scale(kind="labels", values=("a", "a "))},
        {"scale": Scale(kind="mood", values=("a", "b"))},
        {"guide": "x" * 100_001},
    ],
)
def test_a_round_that_cannot_be_is_refused(studio, fields):
    with pytest.raises(RefusedInput):
        studio.start(**{"name": "first"} | fields)


def test_unknown_things_are_said(studio):
    with pytest.raises(UnknownName):
        studio.labelling.start_round("nothing", "first", scale=stars())
    with pytest.raises(UnknownName):
        studio.labelling.next_row(7, "Ann")
    studio.start()
    with pytest.raises(Conflict, match="first"):
        studio.start()


def test_what_is_said_is_checked(studio):
    found = studio.start()
    task = studio.labelling.next_row(found, " Ann ")
    for said in (
        Judgement(annotator=""),
        Judgement(annotator="", rating="6"),
        Judgement(annotator="", correction="  "),
    ):
        with pytest.raises(RefusedInput):
            studio.labelling.mark(task.id, "Ann", task.digest, said)
    with pytest.raises(RefusedInput, match="who you are"):
        studio.labelling.mark(task.id, "  ", task.digest, Judgement(annotator="", rating="4"))
    studio.labelling.mark(
        task.id, "Ann", task.digest, Judgement(annotator="", rating="4", tags=("new  tag", "", "a;b"))
    )
    (mark,) = studio.marks(found)
    assert (mark.annotator, mark.tags, mark.seconds >= 0) == ("Ann", ["new tag", "a b"], True)
    assert studio.labelling.refresh(found).tags == ["new tag", "a b"]


def test_a_closed_round_takes_no_marks(studio):
    found = studio.start()
    task = studio.labelling.next_row(found, "Ann")
    studio.labelling.close_round(found)
    assert studio.labelling.next_row(found, "Ann") is None
    with pytest.raises(Conflict, match="closed"):
        studio.labelling.mark(task.id, "Ann", task.digest, Judgement(annotator="", rating="4"))
    studio.labelling.close_round(found, is_closed=False)
    assert studio.labelling.next_row(found, "Ann") == task


def test_a_row_is_marked_by_its_number_and_a_second_mark_takes_the_place_of_the_first(studio):
    round_id = studio.start("all")
    studio.labelling.mark_row(round_id, 3, "Eve", rating="2", tags=["late"], note="first")
    studio.labelling.mark_row(round_id, 3, "Eve", rating="5", is_flagged=True)
    (mark,) = studio.marks(round_id)
    assert (mark.row, mark.annotator, mark.rating, mark.tags, mark.note) == (3, "Eve", "5", [], "")
    with pytest.raises(RefusedInput, match="Row 99 is not in round"):
        studio.labelling.mark_row(round_id, 99, "Eve", rating="2")
    for said in ({"rating": "9"}, {}, {"ratin": "2"}):
        with pytest.raises(RefusedInput):
            studio.labelling.mark_row(round_id, 3, "Eve", **said)


def test_skip_and_undo(studio):
    found = studio.start(num_annotators=1)
    task = studio.labelling.next_row(found, "Ann")
    studio.labelling.skip(task.id, "Ann", task.digest)
    assert studio.say(found, "Ann", "3") == 2
    assert studio.labelling.undo(found, "Ann") == 2
    again = studio.labelling.next_row(found, "Ann")
    assert (again.row, again.mark.rating) == (2, "3")
    with pytest.raises(Conflict):
        studio.labelling.undo(found, "Ben")


def test_marks_follow_their_rows_through_versions(studio, tmp_path):
    found = studio.start()
    for rating in "12345":
        studio.say(found, "Ann", rating)
    edited = json.dumps({"prompt": "Question 2?", "completion": "Another answer."})
    revise(tmp_path / "v1", tmp_path / "v2", edits={2: edited}, exclude=[4])
    studio.enter(tmp_path / "v2")
    view = studio.labelling.refresh(found)
    assert (view.version_number, view.rows, view.gone, view.done) == (2, 11, 1, 3)
    assert {mark.row: mark.counts for mark in studio.marks(found)} == {1: True, 2: False, 3: True, 4: False, 5: True}
    assert studio.say(found, "Ann", "5") == 2
    studio.desk.rollback_dataset("pairs", 1)
    assert studio.labelling.refresh(found).done == 5


def test_a_version_of_what_came_out(studio, tmp_path):
    found = studio.start()
    studio.say(found, "Ann", "1")
    studio.say(found, "Ann", "5", tags=("rude",))
    studio.say(found, "Ann", "1", correction="A better answer.")
    studio.say(found, "Ann", "4")
    studio.say(found, "Ann", "1", is_flagged=True)
    job = studio.labelling.apply(found, Filter(least_rating=3, drop_tags=("rude",)))
    made = studio.made_by(job, tmp_path / "v2")
    assert {row.row for row in read_rows(made, start=0, count=20)} == set(range(3, 13))
    assert read_rows(made, start=0, count=1)[0].completion == "A better answer."
    problems = [(each.row, each.code, each.state) for each in read_problems(made, start=0, count=9)]
    assert problems == [(1, "labels.rating_below", "excluded"), (2, "labels.tag", "excluded")]
    assert "rated 1 in the round first; at least 3 stays" in read_problems(made, start=0, count=1)[0].message()
    assert "评为 1" in read_problems(made, start=0, count=1)[0].message("zh")
    (change,) = read_changes(made, start=0, count=9)
    assert (change.row, change.field, change.before, change.after) == (3, "completion", "Answer 3.", "A better answer.")
    assert read_manifest(made).steps[-1].parameters == {"round": "first", "left_out": 2, "corrected": 1}
    with pytest.raises(Conflict):
        studio.labelling.apply(found, Filter(least_rating=3))


def test_a_decision_stands_above_the_marks(studio):
    found = studio.start(num_annotators=2)
    studio.say(found, "Ann", "1")
    studio.say(found, "Ben", "5", correction="Yes.")
    assert studio.labelling.outcome(found, Filter(least_rating=3)) == {
        "round": "first",
        "left_out": {},
        "corrections": {},
        "only": None,
        "disputed": [1],
    }
    with studio.writer.begin() as session:
        ((task, said),) = label_results.disputed(session, found)
    assert len(said) == 2
    studio.labelling.decide(task.id, "Zoe", task.digest, Judgement(annotator="", rating="1"))
    with pytest.raises(Conflict, match="final"):
        studio.labelling.decide(task.id, "Zoe", task.digest, Judgement(annotator="", rating="2"))
    outcome = studio.labelling.outcome(found, Filter(least_rating=3))
    assert (list(outcome["left_out"]), outcome["disputed"]) == ([1], [])


def test_unmarked_rows_may_be_left_out_too(studio, tmp_path):
    found = studio.start(scale=good_bad(), by="random", count=4)
    for rating in ("good", "good", "bad"):
        studio.say(found, "Ann", rating)
    job = studio.labelling.apply(found, Filter(least_rating=1, drop_unmarked=True))
    made = studio.made_by(job, tmp_path / "v2")
    assert read_manifest(made).rows == 2
    assert {each.code for each in read_problems(made, start=0, count=20)} == {"labels.bad", "labels.unmarked"}


def test_nothing_to_do_is_said_before_a_job(studio):
    found = studio.start(scale=LABELS)
    studio.say(found, "Ann", "billing")
    with pytest.raises(RefusedInput, match="nothing would change"):
        studio.labelling.apply(found, Filter(labels=("billing",)))
    with pytest.raises(RefusedInput):
        studio.labelling.apply_marks(found, labels="billing")
    assert studio.labelling.apply_marks(found, labels=["delivery"])


def test_corrections_of_a_conversation(tmp_path):
    import_file(SAMPLES / "chat.en.jsonl", tmp_path / "v1")
    manifest = read_manifest(tmp_path / "v1")
    first = read_rows(tmp_path / "v1", start=0, count=1)[0]
    values = {"round": "r", "left_out": {}, "corrections": {str(first.row): "Corrected."}, "only": None}
    from_job(tmp_path / "v1", tmp_path / "v2", values)
    after = read_rows(tmp_path / "v2", start=0, count=1)[0]
    assert after.messages[-1]["content"] == "Corrected." == label_rows.answer(after, manifest.format)
    assert after.messages[:-1] == first.messages[:-1]
    assert after.raw == first.raw
    with pytest.raises(RefusedInput, match="nothing would change"):
        from_job(tmp_path / "v2", tmp_path / "v3", values)


def test_rows_are_found_by_number_and_told_apart(studio, tmp_path):
    found = rows_at(tmp_path / "v1", [12, 3, 99])
    assert {number: row.completion for number, row in found.items()} == {3: "Answer 3.", 12: "Answer 12."}
    assert label_rows.digest(found[3], "prompt_completion") != label_rows.digest(found[12], "prompt_completion")
    twin = msgspec.structs.replace(found[3], row=77, split="test", category="x")
    assert label_rows.digest(twin, "prompt_completion") == label_rows.digest(found[3], "prompt_completion")
    assert (label_rows.question(found[3], "prompt_completion"), label_rows.answer(found[3], "prompt_completion")) == (
        "Question 3?",
        "Answer 3.",
    )


def test_marks_go_out_and_come_in_again(studio, tmp_path):
    found = studio.start(num_annotators=2)
    studio.say(found, "Ann", "4", tags=("polite",), note="good")
    studio.say(found, "Ann", None, correction="Yes.")
    file = tmp_path / "marks.csv"
    file.write_text(write_marks(studio.marks(found), "csv"), "utf-8", newline="")
    second = studio.start("second")
    assert studio.labelling.import_marks(second, str(file)) == 2
    assert [mark.judgement() for mark in studio.marks(second)] == [mark.judgement() for mark in studio.marks(found)]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"row": 99, "annotator": "Ann", "rating": "4"}', "Line 2: row 99"),
        ('{"row": 2, "annotator": "Ann", "rating": "nine"}', "Line 2: “nine”"),
        ('{"row": 2, "annotator": "Ann"}', "Nothing is marked"),
    ],
)
def test_an_import_is_all_or_nothing(studio, tmp_path, line, words):
    found = studio.start()
    file = tmp_path / "marks.jsonl"
    file.write_text('{"row": 1, "annotator": "Ann", "rating": 4}\n' + line + "\n")
    with pytest.raises(RefusedInput, match=words):
        studio.labelling.import_marks(found, str(file))
    assert studio.marks(found) == []

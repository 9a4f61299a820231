"""Rounds in the registry: who gets which row, what counts, what is taken back, what waits for an arbiter."""

from itertools import count

import pytest

from studio.db import datasets, label_results, labels
from studio.db.engine import Writer
from studio.errors import Conflict, UnknownName
from studio.workshop.labelling.marks import Judgement, stars

NEVER = ""
"""Claims older than this are given to others: none is."""
LATER = "9"
MANIFEST = {"format": "messages", "shape": "chat", "rows": 3, "problems": 0, "excluded": 0, "content_hash": "h"}


class Desk:
    """One round of rows 11, 12, 13 with shorthands."""

    def __init__(self, writer: Writer, num_annotators: int) -> None:
        self.writer = writer
        self._clock = count(1)
        with writer.begin() as session:
            self.owner = datasets.reserve(session, "support")
            datasets.add_version(session, self.owner, number=1, path="v1", job_id=1, manifest=MANIFEST)
        self.round = self.add("first", num_annotators)

    def add(self, name: str, num_annotators: int = 1) -> int:
        with self.writer.begin() as session:
            fields = {"guide": "", "scale": stars(), "tags": [], "num_annotators": num_annotators, "sampling": {}}
            rows = [(11, "a"), (12, "b"), (13, "c")]
            return labels.add_round(session, self.owner, rows, name=name, version_number=1, **fields)

    def now(self) -> str:
        return f"2026-01-01T00:00:{next(self._clock):02d}.000000Z"

    def next(self, name: str, stale: str = NEVER) -> labels.TaskView | None:
        with self.writer.begin() as session:
            who = labels.annotator_id(session, name)
            return labels.claim_next(session, self.round, who, now=self.now(), stale=stale)

    def row(self, name: str, stale: str = NEVER) -> int | None:
        task = self.next(name, stale)
        return task and task.row

    def say(self, name: str, rating: str | None = "4", **fields) -> int:
        """Mark (or with None skip) the row that this annotator is shown."""
        task = self.next(name)
        with self.writer.begin() as session:
            who = labels.annotator_id(session, name)
            what = Judgement(annotator=name, rating=rating, **fields) if rating else None
            labels.keep_mark(session, task.id, who, task.digest, what, now=self.now(), seconds=1.0)
        return task.row

    def undo(self, name: str) -> int | None:
        with self.writer.begin() as session:
            return labels.take_back(session, self.round, labels.annotator_id(session, name))

    def view(self) -> labels.RoundView:
        with self.writer.begin() as session:
            return labels.label_round(session, self.round)

    def change(self, digests: dict[int, str]) -> None:
        with self.writer.begin() as session:
            labels.set_digests(session, self.round, 2, digests)

    def disputed(self) -> list[int]:
        with self.writer.begin() as session:
            return [task.row for task, _ in label_results.disputed(session, self.round)]

    def results(self) -> dict[int, str | None]:
        with self.writer.begin() as session:
            found = label_results.results(stars(), label_results.marks(session, self.round))
        return {row: each.rating for row, each in found.items()}


@pytest.fixture(name="writer")
def fixture_writer(tmp_path):
    made = Writer(tmp_path / "registry.sqlite")
    yield made
    made.close()


@pytest.fixture(name="one")
def fixture_one(writer):
    return Desk(writer, num_annotators=1)


@pytest.fixture(name="two")
def fixture_two(writer):
    return Desk(writer, num_annotators=2)


def test_rows_come_in_order_and_stay_until_they_are_marked(one):
    assert [one.row("Ann"), one.row("Ann")] == [11, 11]
    assert [one.say("Ann"), one.say("Ann"), one.say("Ann")] == [11, 12, 13]
    assert one.row("Ann") is None
    assert (one.view().done, one.view().rows) == (3, 3)


def test_a_row_on_somebodys_screen_is_nobody_elses(one):
    assert [one.row("Ann"), one.row("Ben"), one.row("Cem"), one.row("Dan")] == [11, 12, 13, None]
    assert one.row("Dan", stale=LATER) == 11


def test_nobody_marks_a_row_twice_and_two_each_may(two):
    assert [two.say("Ann"), two.say("Ben"), two.say("Ann"), two.say("Ann")] == [11, 11, 12, 13]
    assert two.row("Ann") is None
    assert two.row("Cem") == 12
    assert two.view().done == 1


def test_a_skipped_row_goes_to_others(one):
    assert one.say("Ann", None) == 11
    assert [one.row("Ann"), one.row("Ben")] == [12, 11]
    assert one.results() == {}


def test_the_last_mark_comes_back_as_it_was(one):
    one.say("Ann")
    one.say("Ann", "2", note="why", tags=("t",))
    assert one.row("Ann") == 13
    assert one.undo("Ann") == 12
    again = one.next("Ann")
    assert (again.row, again.mark.rating, again.mark.note, again.mark.tags) == (12, "2", "why", ("t",))
    assert one.results() == {11: "4"}
    assert one.undo("Ann") == 11
    assert [one.say("Ann"), one.say("Ann"), one.say("Ann"), one.undo("Zoe")] == [11, 12, 13, None]


def test_marks_count_while_the_row_is_as_it_was(one):
    for _ in range(3):
        one.say("Ann")
    one.change({11: "a", 12: "changed"})
    assert one.results() == {11: "4"}
    assert (one.view().rows, one.view().gone, one.view().done) == (2, 1, 1)
    assert one.say("Ann", "1") == 12
    assert one.row("Ann") is None
    assert one.results() == {11: "4", 12: "1"}
    one.change({11: "a", 12: "b", 13: "c"})
    assert one.results() == {11: "4", 12: "4", 13: "4"}


def test_disputes_wait_for_an_arbiter_whose_word_is_final(two):
    two.say("Ann", "1")
    two.say("Ben", "5")
    two.say("Ann", "5")
    two.say("Ben", "4")
    two.say("Ann", "3", is_flagged=True)
    assert two.disputed() == [11, 13]
    with two.writer.begin() as session:
        (task, said), _ = label_results.disputed(session, two.round)
        assert [each.rating for each in said] == ["1", "5"]
        arbiter = labels.annotator_id(session, "Zoe")
        labels.keep_decision(session, task.id, arbiter, task.digest, Judgement(annotator="Zoe", rating="2"))
        with pytest.raises(Conflict):
            labels.keep_decision(session, task.id, arbiter, task.digest, Judgement(annotator="Zoe", rating="3"))
    assert two.disputed() == [13]
    assert two.results()[11] == "2"
    assert [two.undo("Ann"), two.undo("Ann"), two.undo("Ann")] == [13, 12, None]  # a decided row's mark stays


def test_a_decided_row_is_given_to_nobody(two):
    task = two.next("Ann")
    with two.writer.begin() as session:
        arbiter = labels.annotator_id(session, "Zoe")
        labels.keep_decision(session, task.id, arbiter, task.digest, Judgement(annotator="Zoe", rating="2"))
    assert [two.row("Ann"), two.row("Ben")] == [12, 12]


def test_marks_tell_who_when_and_whether_they_count(one):
    one.say("Ann", "5", correction="Yes.")
    one.change({11: "other"})
    with one.writer.begin() as session:
        (mark,) = label_results.marks(session, one.round)
    assert (mark.row, mark.annotator, mark.rating, mark.correction, mark.seconds) == (11, "Ann", "5", "Yes.", 1.0)
    assert (mark.digest, mark.counts, mark.is_decision) == ("a", False, False)


def test_rounds_are_listed_newest_first_and_named_once(one):
    second = one.add("second")
    with one.writer.begin() as session:
        assert [each.name for each in labels.list_rounds(session, "support")] == ["second", "first"]
        assert labels.list_rounds(session, "other") == []
        labels.change_round(session, second, guide="Be kind.", is_closed=True)
        assert (labels.label_round(session, second).guide, labels.label_round(session, second).is_closed) == (
            "Be kind.",
            True,
        )
        with pytest.raises(UnknownName):
            labels.label_round(session, 99)
        with pytest.raises(UnknownName):
            labels.task(session, 99)
    with pytest.raises(Conflict, match="second"):
        one.add("second")


def test_marks_of_one_round_are_no_other_rounds(one):
    one.say("Ann")
    one.round = one.add("second")
    assert one.results() == {}
    assert one.row("Ann") == 11


def test_results_serve_duplicates_and_the_quality_classifier(two):
    for one, other in (("5", "4"), ("1", "1"), ("1", "5")):
        two.say("Ann", one)
        two.say("Ben", other)
    with two.writer.begin() as session:
        assert label_results.ratings(session, "support") == {11: 0.9, 12: 0.2}
        assert label_results.keep_marks(session, "support") == {11: True, 12: False}
    two.round = two.add("second")
    two.say("Ann", "2")
    with two.writer.begin() as session:
        assert label_results.ratings(session, "support") == {11: 0.4, 12: 0.2}
        assert label_results.keep_marks(session, "support") == {11: False, 12: False}
        assert label_results.ratings(session, "other") == {}

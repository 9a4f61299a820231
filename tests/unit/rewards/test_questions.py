"""Rows of every format as questions with a reference, and what is kept of trials."""

from pathlib import Path

import msgspec
import pytest

from studio.errors import RefusedInput
from studio.paths import Workspace
from studio.rewards import kept
from studio.rewards.answers_to_try import answers_to_try
from studio.rewards.kept import Asking, Samples, Trial
from studio.rewards.questions import questions
from studio.rewards.recipe import parse
from studio.rewards.trial import trial
from studio.workshop.versions.layout import PREFERENCE, PROMPT, TEXT, UNPAIRED, TrainingRow
from studio.workshop.versions.writer import VersionWriter
from tests.unit.workshop.making import pair, version

ASKED = [{"role": "user", "content": "6 x 7?"}]


def made(folder: Path, format: str, *rows: TrainingRow) -> Path:
    writer = VersionWriter(folder, format=format)
    for number, row in enumerate(rows, 1):
        writer.add(number, "{}", row)
    writer.finish(shape=format, columns={}, source={}, parent=None, steps=[], blank_lines=0)
    return folder


def said(text: str) -> list[dict]:
    return [{"role": "assistant", "content": text}]


def test_pairs_and_conversations(tmp_path):
    splits = {2: "test", 3: "validation"}
    found = questions(version(tmp_path / "v1", [pair("6 x 7?", "42")] * 4, splits=splits), count=10, seed=1)
    assert [each.row.number for each in found] == [1, 4]
    assert (found[0].turns, found[0].row.question, found[0].row.reference) == (ASKED, "6 x 7?", "42")
    said_by = (("system", "Be short."), ("user", "Hi"), ("assistant", "Ho"), ("user", "6 x 7?"), ("assistant", "42"))
    long = TrainingRow(messages=[{"role": role, "content": text} for role, text in said_by])
    (only,) = questions(version(tmp_path / "v2", [long]), count=10, seed=1)
    assert [turn["role"] for turn in only.turns] == ["system", "user", "assistant", "user"]
    assert (only.row.question, only.row.reference) == ("6 x 7?", "42")


@pytest.mark.parametrize(
    ("format", "row", "reference"),
    [
        (PREFERENCE, TrainingRow(prompt=ASKED, chosen=said("42"), rejected=said("41")), "42"),
        (UNPAIRED, TrainingRow(prompt=ASKED, completion=said("42"), label=True), "42"),
        (UNPAIRED, TrainingRow(prompt=ASKED, completion=said("41"), label=False), None),
        (PROMPT, TrainingRow(prompt=ASKED), None),
    ],
)
def test_other_formats(tmp_path, format, row, reference):
    (only,) = questions(made(tmp_path / "v1", format, row), count=10, seed=1)
    assert (only.turns, only.row.reference) == (ASKED, reference)


def test_a_source_text_comes_from_a_column_of_that_name(tmp_path):
    row = TrainingRow(
        prompt="What is it about?", completion="Wheels.", extra={"context": "A text about wheels.", "id": 7}
    )
    (only,) = questions(version(tmp_path / "v1", [row]), count=1, seed=1)
    assert only.row.source == "A text about wheels."


def test_texts_hold_no_questions(tmp_path):
    with pytest.raises(RefusedInput, match="text"):
        questions(made(tmp_path / "v1", TEXT, TrainingRow(text="Once upon a time")), count=1, seed=1)


def test_the_same_rows_are_drawn_every_time_and_no_more_than_asked(tmp_path):
    folder = version(tmp_path / "v1", [pair(f"{n} + 1?", str(n + 1)) for n in range(60)])
    first = questions(folder, count=10, seed=1)
    assert len(first) == 10 and first == questions(folder, count=10, seed=1) != questions(folder, count=10, seed=2)


def test_trials_are_found_by_their_rows_the_newest_first(tmp_path):
    workspace = Workspace(tmp_path).make()
    rows = [each.row for each in questions(version(tmp_path / "v1", [pair("6 x 7?", "42")] * 3), count=3, seed=1)]
    report = trial(parse(["exact_match"]), rows, answers_to_try(rows, {}))
    facts = {"dataset": "d", "version": 1, "model": None, "is_proposed": False, "sampled": 0, "verdict": report.verdict}
    first, second = (Trial(report=report, created_at=when, **facts) for when in ("1", "2"))
    for each, reward in ((first, "a"), (second, "b")):
        kept.keep(kept.trial_place(workspace, "content", reward), each)
    assert kept.newest(workspace, "content") == second
    assert kept.newest(workspace, "other") is None
    assert kept.verdicts(kept.tried(workspace, "content"), "m") == {}
    kept.keep(kept.trial_place(workspace, "content", "c"), msgspec.structs.replace(second, model="m", verdict="green"))
    found = kept.tried(workspace, "content")
    assert kept.verdicts(found, "m") == {report.hash: "green"}
    assert [each.model for each in found] == ["m", None], "of one reward with one model the newest alone"
    assert kept.tried_elsewhere(workspace, "content") == [] and len(kept.tried_elsewhere(workspace, "other")) == 2
    place = kept.samples_place(workspace, "model", "content", Asking())
    assert place != kept.samples_place(workspace, "model", "content", Asking(rows=7))
    kept.keep(place, Samples(model="m", seconds=1.0, answers={1: ["a"]}))
    assert kept.read_samples(place).answers == {1: ["a"]}
    with pytest.raises(RefusedInput):
        kept.read_trial(place)
    assert msgspec.json.decode(msgspec.json.encode(second), type=Trial) == second

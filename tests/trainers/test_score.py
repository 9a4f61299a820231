"""A model's losses on rows: those of transformers itself, whatever the batches; and the job that measures them."""

import math
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import polars as pl
import pytest

from studio.protocol import DatasetRef
from studio.workshop import reports, row_losses
from studio.workshop.checks import difficulty
from studio.workshop.table import load
from studio.workshop.versions import remedies
from studio.workshop.versions.build import revise
from studio.workshop.versions.reader import read_manifest
from tests.trainers.jobs import ask, events_of, result_of, run_here, start, wait_until, write_spec
from tests.unit.workshop.making import chat, pair, version
from trainers import score
from trainers.models import scoring
from trainers.rows.data import Findings, Renderer, Sample, conversations, difficulties

WORDS = [
    "the",
    "old",
    "river",
    "runs",
    "past",
    "seven",
    "quiet",
    "mills",
    "and",
    "a",
    "bridge",
    "of",
    "stone",
    "before",
]


def talk(random: Random, turns: int) -> list[str]:
    return [" ".join(random.choices(WORDS, k=random.randint(1, 30))) for _ in range(2 * turns)]


def ref(folder: Path) -> DatasetRef:
    known = read_manifest(folder)
    return DatasetRef(
        name="data",
        version=1,
        path=str(folder),
        content_hash=known.content_hash,
        format=known.format,
        rows=known.rows,
        splits=known.splits,
    )


def loaded(folder: Path) -> tuple[Any, Renderer]:
    from trainers.models.generation import Models, Place

    with Models("cpu").ready(Place(str(folder))) as ready:
        return ready


def by_row(model: Any, renderer: Renderer, rows: list, **limits: Any) -> dict[int, scoring.RowLoss]:
    made = scoring.answer_losses(model, renderer, rows, max_length=limits.get("max_length", 256), findings=Findings())
    return {each.row: each for each in made}


def of_transformers(model: Any, renderer: Renderer, row: int, sample: Sample) -> tuple[int, float]:
    import torch

    rendered = renderer.render(row, sample)
    ids, labels = (torch.tensor([each]) for each in (rendered.input_ids, rendered.labels))
    with torch.no_grad():
        loss = model(input_ids=ids, labels=labels).loss
    return sum(label != -100 for label in rendered.labels[1:]), float(loss)


def test_losses_are_those_of_transformers_and_order_the_curriculum(starter: Path, tmp_path: Path) -> None:
    rows = [
        chat("What is the capital of France?", "The capital of France is Paris."),
        chat("What is the capital of France?", "Purple seventeen gladly of the the."),
        chat("Hello!", "Hi there.", "How are you?", "I am fine, thank you for asking."),
        chat("你好", "你好！"),
    ]
    folder = version(tmp_path / "v1", rows, splits={1: "train", 2: "validation", 3: "test", 4: "train"})
    model, renderer = loaded(starter)
    samples = list(conversations(ref(folder), split=None))
    found = by_row(model, renderer, samples)
    for row, sample in samples:
        tokens, loss = of_transformers(model, renderer, row, sample)
        assert found[row].tokens == tokens and found[row].loss == pytest.approx(loss, abs=1e-4)
    assert found[1].loss < 1 < 3 < found[2].loss

    lines = {row: (each.tokens, each.loss) for row, each in found.items()}
    report = row_losses.LossReport(
        model="starter", load_in_4bit=False, max_length=256, rows=4, scored=4, tokens=1, loss=1.0, cut=0
    )
    row_losses.keep(tmp_path / "losses", report, lines, [1, 2, 3, 4])
    losses = row_losses.read(tmp_path / "losses")
    only_loss = {"length": 0, "rare_words": 0, "turns": 0}
    remedies.order(folder, only_loss, tmp_path / "v2", losses=losses)
    scores = difficulties(msgspec.structs.replace(ref(folder), path=str(tmp_path / "v2")))
    assert sorted(scores, key=scores.get) == sorted(found, key=lambda row: found[row].loss)


@pytest.mark.parametrize(("tokens", "logits"), [(1, 1), (300, 1 << 26), (1 << 20, 1 << 30)])
def test_batching_changes_no_loss(tiny: Path, monkeypatch: pytest.MonkeyPatch, tokens: int, logits: int) -> None:
    random = Random(7)
    model, renderer = loaded(tiny)
    chats = [talk(random, random.randint(1, 3)) for _ in range(24)]
    samples = [(row, Sample(messages=_messages(texts))) for row, texts in enumerate(chats, 1)]
    samples += [(25, Sample(text="the old river")), (26, Sample(input_ids=[5, 6, 7], labels=[-100, -100, 7]))]
    alone = {row: of_transformers(model, renderer, row, sample) for row, sample in samples}
    monkeypatch.setattr(scoring, "MAX_BATCH_TOKENS", tokens)
    monkeypatch.setattr(scoring, "MAX_BATCH_LOGITS", logits)
    found = by_row(model, renderer, samples, max_length=None)
    assert {row: each.tokens for row, each in found.items()} == {row: count for row, (count, _) in alone.items()}
    for row, (_, loss) in alone.items():
        assert found[row].loss == pytest.approx(loss, abs=1e-4)


def _messages(texts: list[str]) -> list[dict[str, str]]:
    return [{"role": "user" if i % 2 == 0 else "assistant", "content": text} for i, text in enumerate(texts)]


def test_a_batch_holds_no_more_than_it_may(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    random, renderer = Random(3), Renderer(tokenizer)
    rows = [renderer.render(row, Sample(messages=_messages(talk(random, 1)))) for row in range(40)]
    monkeypatch.setattr(scoring, "MAX_BATCH_TOKENS", 300)
    made = list(scoring.batches(rows, vocab_size=1))
    assert sorted(row.row for batch in made for row in batch) == list(range(40))
    assert all(len(batch) * len(batch[0].input_ids) <= 300 for batch in made) and len(made) < 30
    lengths = [len(row.input_ids) for batch in made for row in batch]
    assert lengths == sorted(lengths, reverse=True)
    assert [len(batch) for batch in scoring.batches(rows, vocab_size=1 << 40)] == [1] * 40


def test_rows_are_cut_as_in_training_and_those_without_an_answer_are_named(tiny: Path) -> None:
    model, renderer = loaded(tiny)
    short, long = _messages(["Hi", "Ho"]), _messages(["Hi", "a b c d e f g " * 40])
    samples = [
        (1, Sample(messages=short)),
        (2, Sample(messages=long)),
        (3, Sample(messages=_messages(["x y z " * 80, "cut off altogether"]))),
        (4, Sample(input_ids=[9])),
        (5, Sample(input_ids=[9, 1 << 30])),
    ]
    findings = Findings()
    found = list(scoring.answer_losses(model, renderer, samples, max_length=64, findings=findings))
    assert {each.row for each in found} == {1, 2}
    assert findings.rows == {
        "rows_shortened": [2],
        "rows_cut_off": [3],
        "rows_without_answer": [4],
        "data.foreign_tokens": [5],
    }
    start = next(place for place, label in enumerate(renderer.render(2, Sample(messages=long)).labels) if label != -100)
    assert next(each.tokens for each in found if each.row == 2) == 64 - start


# -- the job ---------------------------------------------------------------------------------------------------------


def score_spec(job: Path, folder: Path, model: Path, **beside: Any) -> Path:
    place = {"model_path": str(model), "adapter_path": None, "load_in_4bit": False}
    scorer = {"title": "tiny", "place": place, "content": "x", "max_length": 200}
    values = {"operation": "score", "name": "data", "scorer": scorer, "options": {}, "losses": "a", "report": "b"}
    values |= beside
    return write_spec(job, kind="score", values=values, dataset=ref(folder))


def test_the_job_leaves_a_loss_for_every_row_and_the_difficulty(tmp_path: Path, tiny: Path) -> None:
    rows = [pair("Hi", "Ho"), pair("Long", "la " * 400), pair("x " * 400, "never read"), pair("One", "two three")]
    folder = version(tmp_path / "v1", rows, problems={2: "empty_answer"}, splits={1: "test"})
    attempt = score_spec(tmp_path / "job", folder, tiny)
    result = run_here(score.main, attempt)
    assert result.outcome == "succeeded", result
    output = tmp_path / "job" / "output"
    losses = row_losses.read(output / "losses")
    assert losses.table["row"].to_list() == [1, 3, 4, 5]
    assert losses.table["loss"].is_null().to_list() == [False, False, True, False]
    assert all(math.isfinite(each) for each in losses.table["loss"].drop_nulls())
    told = losses.report
    assert (told.rows, told.scored, told.cut, told.left_out) == (4, 3, 1, {"rows_cut_off": 1})
    mean = (losses.table["loss"] * losses.table["tokens"]).sum() / losses.table["tokens"].sum()
    assert told.loss == pytest.approx(mean) and result.figures["loss"] == pytest.approx(mean)
    assert (result.figures["losses"], result.figures["report"]) == ("a", "b")
    figures = reports.read_checks(output / "report")["difficulty"]
    assert figures["losses"]["model"] == "tiny"
    kept = pl.read_parquet(output / "report" / reports.SCORES)
    assert kept.columns == ["row", "difficulty", "loss"] and kept["row"][0] == figures["hardest"][0]
    expected = difficulty.run(load(folder), difficulty.Options(), losses).scores
    assert kept.sort("row").equals(expected)
    phases = [event.data["name"] for event in events_of(attempt, "phase")]
    assert phases[-3:] == ["loading_model", "data.losses", "data.checks.difficulty"]
    assert events_of(attempt, "progress")[0].data["total"] == 4


@pytest.mark.slow
def test_a_row_that_has_not_changed_since_is_not_asked_about_again(tmp_path: Path, tiny: Path) -> None:
    rows = [pair("Hi", "Ho"), pair("Long", "la " * 400), pair("x " * 400, "never read"), pair("One", "two three")]
    first = version(tmp_path / "v1", rows)
    run_here(score.main, score_spec(tmp_path / "job", first, tiny))
    kept = tmp_path / "job" / "output" / "losses"

    mended = '{"prompt": "One", "completion": "two three four"}'
    revise(first, tmp_path / "v2", edits={4: mended}, exclude=[1])
    before = {"losses": str(kept), "version": str(first)}
    attempt = score_spec(tmp_path / "again", tmp_path / "v2", tiny, before=before)
    assert run_here(score.main, attempt).outcome == "succeeded"
    whole = score_spec(tmp_path / "whole", tmp_path / "v2", tiny)
    assert run_here(score.main, whole).outcome == "succeeded"
    again, expected = (row_losses.read(tmp_path / name / "output" / "losses") for name in ("again", "whole"))
    assert again.table.drop("loss").equals(expected.table.drop("loss"))
    assert again.table["loss"].to_list() == pytest.approx(expected.table["loss"].to_list(), abs=1e-4)
    assert again.table["loss"][0] == row_losses.read(kept).table["loss"][1]
    assert (again.report.carried, expected.report.carried) == (2, 0)
    same = {name: getattr(expected.report, name) for name in ("rows", "scored", "tokens", "cut", "left_out")}
    assert {name: getattr(again.report, name) for name in same} == same
    assert {event.data["total"] for event in events_of(attempt, "progress")} <= {1}


@pytest.mark.slow
def test_no_model_is_loaded_where_every_row_is_known(tmp_path: Path, tiny: Path) -> None:
    first = version(tmp_path / "v1", [pair("Hi", "Ho"), pair("A", "B")])
    run_here(score.main, score_spec(tmp_path / "job", first, tiny))
    revise(first, tmp_path / "v2", edits={}, exclude=[1])
    before = {"losses": str(tmp_path / "job" / "output" / "losses"), "version": str(first)}
    attempt = score_spec(tmp_path / "again", tmp_path / "v2", tmp_path / "nowhere", before=before)
    assert run_here(score.main, attempt).figures["carried"] == 1
    assert "loading_model" not in [event.data["name"] for event in events_of(attempt, "phase")]


def test_a_stop_ends_the_job_at_once_and_leaves_nothing(tmp_path: Path, tiny: Path) -> None:
    random = Random(1)
    many = [chat(*talk(random, 2)) for _ in range(1000)]
    attempt = score_spec(tmp_path / "job", version(tmp_path / "v1", many), tiny)
    process = start("trainers.score", attempt)
    wait_until(lambda: "data.losses" in [event.data["name"] for event in events_of(attempt, "phase")], process)
    ask(attempt, "stop")
    process.wait(20)
    assert result_of(attempt).outcome == "stopped"
    assert not (tmp_path / "job" / "output").exists()

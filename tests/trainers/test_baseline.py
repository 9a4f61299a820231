"""The untouched model asked in several ways: real losses, answers within their time, rows that are not trained on."""

import time
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from studio.evaluation import baseline
from studio.evaluation.baseline import KINDS, Held
from studio.evaluation.prompts import question_and_answer
from tests.trainers.jobs import SFT, ask, events_of, model_ref, result_of, run_here, start, wait_until, write_spec
from tests.trainers.test_score import ref
from tests.unit.workshop.making import chat, pair, version
from trainers import baseline as job
from trainers import sft
from trainers.baselines.baseline_rows import examples_of, read_rows
from trainers.rows.data import Findings, Renderer

HELD = {"validation_split": 0.2, "seed": 7, "max_length": 128, "per_device_eval_batch_size": 3, "load_in_4bit": False}
TEXT = "A red bicycle costs 300 euros.\n\nA blue bicycle costs 250 euros."


def sums(count: int) -> list[Any]:
    random = Random(3)
    pairs = [(random.randint(1, 9), random.randint(1, 9)) for _ in range(count)]
    return [pair(f"What is {a} plus {b}, my friend number {place}?", str(a + b)) for place, (a, b) in enumerate(pairs)]


def baseline_spec(place: Path, folder: Path, model: Path, **changes: Any) -> Path:
    asked = {"kinds": list(KINDS), "context": TEXT, "rows": 50, "seconds": 60.0, "held": HELD} | changes
    values = {"operation": "baseline", "name": "data", "ask": asked, "report": "somewhere"}
    return write_spec(place, kind="baseline", values=values, dataset=ref(folder), model=model_ref(model))


@pytest.fixture(scope="module", name="rows")
def fixture_rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return version(tmp_path_factory.mktemp("rows") / "v1", sums(30))


@pytest.fixture(scope="module", name="asked")
def fixture_asked(tmp_path_factory: pytest.TempPathFactory, tiny: Path, rows: Path) -> Path:
    """The job's folder once it has run."""
    place = tmp_path_factory.mktemp("job") / "job"
    result = run_here(job.main, baseline_spec(place, rows, tiny))
    assert result.outcome == "succeeded", result
    assert result.figures["report"] == "somewhere"
    return place


def test_every_prompt_has_its_loss_its_answers_and_a_place_beside_the_others(asked: Path) -> None:
    report = baseline.read(asked / "output" / "report")
    assert [each.kind for each in report.prompts] == list(KINDS)
    assert (report.validation_rows, report.rows, report.is_held_out, report.task) == (6, 6, True, "short")
    for prompt in report.prompts:
        assert prompt.rows == prompt.answered == 6 and prompt.loss > 0
        assert prompt.right is not None and 0 <= prompt.interval[0] <= prompt.share <= prompt.interval[1] <= 1
        assert prompt.exact is not None and prompt.f1 is not None and prompt.follows is not None
    losses = [each.loss for each in report.prompts]
    assert len(set(losses)) == len(losses)
    system = report.of("system")
    assert system.is_proposed and "few words" in system.system
    answers = baseline.read_answers(asked / "output" / "report")
    assert len(answers) == 6 and all(set(each.answers) == set(KINDS) for each in answers)
    told = events_of(asked / "attempts" / "1", "phase")
    assert [event.data["name"] for event in told][-4:] == [
        f"baseline.{name}" for name in ("rows", "losses", "answers", "losses")
    ]


def test_the_plain_loss_is_where_a_run_of_these_rows_begins(
    asked: Path, rows: Path, tiny: Path, tmp_path: Path
) -> None:
    values = SFT | HELD | {"max_steps": 1, "eval_steps": 1, "save_steps": 1, "learning_rate": 0.0}
    attempt = write_spec(tmp_path / "run", values=values, dataset=ref(rows), model=model_ref(tiny), seed=HELD["seed"])
    result = run_here(sft.main, attempt)
    assert result.outcome == "succeeded", result
    report = baseline.read(asked / "output" / "report")
    assert report.of("plain").validation_loss == pytest.approx(result.figures["eval_loss"], abs=1e-5)
    assert report.of("plain").loss == pytest.approx(report.of("plain").validation_loss)
    assert report.best_prompt.validation_loss == pytest.approx(report.best_prompt.loss)


def test_what_is_shown_to_the_model_is_never_a_validation_row(rows: Path, tokenizer: Any) -> None:
    held = msgspec.convert(HELD, Held)
    known = read_rows(ref(rows), Renderer(tokenizer), held, most=4, findings=Findings())
    validation = {row for row, _ in known.validation}
    assert len(validation) == 6 and len(known.compared) == 4 and known.is_held_out
    assert {row for row, _ in known.compared} < validation
    assert not validation & {row for row, _ in known.pool} and len(known.pool) == 24
    asked = {question_and_answer(sample.messages)[0] for _, sample in known.validation}
    examples = examples_of(known.pool, 4, seed=7)
    assert len(examples) == 4 and not asked & {example[0]["content"] for example in examples}
    assert len({example[1]["content"] for example in examples}) == 4
    again = read_rows(ref(rows), Renderer(tokenizer), held, most=4, findings=Findings())
    assert [row for row, _ in again.compared] == [row for row, _ in known.compared]


def test_a_version_that_is_split_is_asked_its_own_validation_rows(tmp_path: Path, tokenizer: Any) -> None:
    sides = {1: "validation", 2: "test", 3: "validation", 4: "validation"} | dict.fromkeys(range(5, 11), "train")
    made = sums(10)
    made[2] = pair("x " * 400, "never read")
    folder, findings = version(tmp_path / "v1", made, splits=sides), Findings()
    known = read_rows(ref(folder), Renderer(tokenizer), msgspec.convert(HELD, Held), most=50, findings=findings)
    assert [row for row, _ in known.validation] == [1, 4] and not known.is_held_out
    assert [row for row, _ in known.pool] == [5, 6, 7, 8, 9, 10]
    assert findings.rows == {"rows_cut_off": [3]}


def test_writing_answers_takes_no_longer_than_it_may(tmp_path: Path, rows: Path, tiny: Path) -> None:
    attempt = baseline_spec(tmp_path / "job", rows, tiny, seconds=0.0, kinds=["plain", "examples"])
    assert run_here(job.main, attempt).figures["verdict"] == "unknown"
    report = baseline.read(tmp_path / "job" / "output" / "report")
    assert [each.answered for each in report.prompts] == [0, 0] and report.answer_seconds < 0.5
    assert all(each.right is None and each.loss for each in report.prompts)


def test_half_an_answer_is_none(tiny: Path) -> None:
    from tests.trainers.test_score import loaded
    from trainers.models.batched import answer_all

    model, renderer = loaded(tiny)
    prompts = [renderer.prompt([{"role": "user", "content": text}]) for text in ("Hi", "What is that over there?")]
    assert answer_all(model, renderer, prompts, max_new_tokens=50, until=time.monotonic()) is None
    together = answer_all(model, renderer, prompts, max_new_tokens=8, until=time.monotonic() + 60)
    alone = [answer_all(model, renderer, [each], max_new_tokens=8, until=time.monotonic() + 60)[0] for each in prompts]
    assert together == alone


def test_a_long_prompt_is_shortened_to_what_the_model_can_read(tmp_path: Path, tiny: Path) -> None:
    rows = [chat(f"Number {place}? " + "and so on " * 18, "It is four. " * 3) for place in range(20)]
    folder = version(tmp_path / "v1", rows)
    attempt = baseline_spec(
        tmp_path / "job", folder, tiny, held=HELD | {"max_length": 200}, context="many words " * 600
    )
    assert run_here(job.main, attempt).outcome == "succeeded"
    report = baseline.read(tmp_path / "job" / "output" / "report")
    assert all(each.rows == 4 for each in report.prompts)  # 256 positions: no answer was cut off
    assert report.of("examples") is None or report.of("examples").shown < 4


def test_rows_without_anything_to_ask_end_in_a_plain_sentence(tmp_path: Path, tiny: Path) -> None:
    folder = version(tmp_path / "v1", [pair("Hi", "Ho")])
    result = run_here(job.main, baseline_spec(tmp_path / "job", folder, tiny))
    assert (result.outcome, result.reason) == ("failed", "job.baseline.no_rows")


def test_a_stop_ends_it_at_once(tmp_path: Path, rows: Path, tiny: Path) -> None:
    attempt = baseline_spec(tmp_path / "job", rows, tiny)
    process = start("trainers.baseline", attempt)
    wait_until(lambda: events_of(attempt, "phase"), process)
    ask(attempt, "stop")
    process.wait(30)
    assert result_of(attempt).outcome == "stopped"
    assert not (tmp_path / "job" / "output" / "report").exists()

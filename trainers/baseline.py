"""Asks the untouched model the validation rows in several ways: `python -m trainers.baseline <attempt folder>`.

Each way is scored by the loss of the wanted answers, as a run's eval_loss is; then the model writes answers of its own,
many at once and never longer than it was given time for. It leaves a report (`studio.evaluation.baseline`):

    <output_path>/report    report.json, answers.json

A stop ends it at once, and nothing is kept.
"""

import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from studio.errors import JobFailed
from studio.evaluation import baseline
from studio.evaluation.baseline import PLAIN, Ask
from trainers.attempt import Attempt, run_attempt
from trainers.baselines.baseline_report import answers_of, figures_of, report_of
from trainers.rows.data import Findings, Renderer

if TYPE_CHECKING:
    from studio.evaluation.task import Task
    from trainers.baselines.baseline_prompts import Way
    from trainers.baselines.baseline_rows import Numbered, Rows

PROGRESS_SECONDS = 0.5
ROUNDS = (4, 8)
"""Rows that every prompt is asked before the next ones: few at first, so that little time gives some answers too."""
MORE_TOKENS = 32
"""So much longer than the longest wanted answer may one be; who explains is still understood."""
MOST_ANSWER_TOKENS = 256
MOST_READ_TOKENS = 4096
"""With what is put before it, a row is not made longer than this, whatever the model can read."""


def main(attempt: Attempt) -> dict[str, Any]:
    ask = msgspec.convert(attempt.spec.values["ask"], Ask)
    output = Path(attempt.spec.output_path)
    shutil.rmtree(output, ignore_errors=True)  # what an attempt that was killed left behind

    attempt.phase("loading_libraries")
    from trainers.models.generation import Place
    from trainers.score import load_libraries

    models = load_libraries(attempt)
    attempt.phase("loading_model")
    held = ask.held
    place = Place(attempt.spec.model.path, load_in_4bit=held.load_in_4bit, load_in_8bit=held.load_in_8bit)
    with models.ready(place) as (model, renderer):
        attempt.phase("baseline.rows")
        bench = prepare(attempt, model, renderer, ask)
        attempt.phase("baseline.losses")
        score_all(bench)
        attempt.phase("baseline.answers")
        answer_all(bench)
        attempt.phase("baseline.losses")
        score_best(bench)
    report = report_of(bench)
    baseline.keep(output / "report", report, answers_of(bench))
    return {"report": attempt.spec.values["report"], "best": report.best, "verdict": report.verdict}


@dataclass
class Bench:
    """The model, the rows, and what was found so far."""

    attempt: Attempt
    ask: Ask
    model: Any
    renderer: Renderer
    rows: "Rows"
    task: "Task"
    ways: "list[Way]"
    positions: int
    """Tokens that the model can read."""
    findings: Findings
    losses: dict[str, dict[int, tuple[int, float]]] = field(default_factory=dict)
    """Prompt kind -> row -> answer tokens and loss."""
    whole: dict[str, float] = field(default_factory=dict)
    """Prompt kind -> loss over every validation row."""
    answered: "Numbered" = field(default_factory=list)
    """Rows that the prompts were asked, every one of them unless the time was over in the first round."""
    said: dict[str, list[str]] = field(default_factory=dict)
    """Prompt kind -> its answers to those."""
    loss_seconds: float = 0.0
    answer_seconds: float = 0.0

    def tell(self, done: int, total: int, unit: str, seconds_left: float | None) -> None:
        left = None if seconds_left is None else round(max(0.0, seconds_left), 1)
        self.attempt.events.write("progress", done=done, total=total, unit=unit, seconds_left=left)


# -- rows and prompts ------------------------------------------------------------------------------------------------


def prepare(attempt: Attempt, model: Any, renderer: Renderer, ask: Ask) -> Bench:
    """Read the rows and lay out the prompts.

    Raises:
        JobFailed: no row can be asked, or none is left to show.
    """
    from studio.evaluation.prompts import question_and_answer
    from studio.evaluation.task import task_of
    from trainers.baselines.baseline_prompts import ways
    from trainers.baselines.baseline_rows import read_rows

    findings, dataset = Findings(), attempt.spec.dataset
    rows = read_rows(dataset, renderer, ask.held, most=ask.rows, findings=findings)
    if not rows.compared or not rows.pool:
        raise JobFailed("baseline.no_rows", dataset=dataset.name, version=dataset.version)
    task = task_of([question_and_answer(sample.messages)[1] for _, sample in rows.pool], schema_of(Path(dataset.path)))
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None) or MOST_READ_TOKENS
    room = min(positions, MOST_READ_TOKENS) - _answer_tokens(renderer, rows)
    return Bench(
        attempt, ask, model, renderer, rows, task, ways(ask, rows, task, renderer, room=room), positions, findings
    )


def schema_of(version: Path) -> Any | None:
    """What a person said that answers must look like, when this version or one before it was made."""
    from studio.workshop.clean.task_schema import Options
    from studio.workshop.versions.manifest import read_manifest

    for step in reversed(read_manifest(version).steps):
        if step.operation == "task_schema" and step.parameters.get("kind", "none") != "none":
            known = {name: step.parameters[name] for name in Options.__struct_fields__ if name in step.parameters}
            return msgspec.convert(known, Options, strict=False)
    return None


def _answer_tokens(renderer: Renderer, rows: "Rows") -> int:
    """Tokens that the model may write: a little more than the longest wanted answer."""
    from studio.evaluation.prompts import question_and_answer

    wanted = [question_and_answer(sample.messages)[1] for _, sample in rows.compared]
    longest = max(len(ids) for ids in renderer.tokenizer(wanted)["input_ids"])
    return min(MOST_ANSWER_TOKENS, longest + MORE_TOKENS)


# -- losses ----------------------------------------------------------------------------------------------------------


def score_all(bench: Bench) -> None:
    """The loss of every prompt on the compared rows, and of the plain one on every validation row."""
    from trainers.baselines.baseline_prompts import asked

    started, total = time.monotonic(), len(bench.ways) * len(bench.rows.compared)
    for done, way in enumerate(bench.ways):
        rows = asked(way, bench.rows.compared)
        before = done * len(rows)
        bench.losses[way.kind] = _losses(bench, rows, bench.positions, before=before, total=total, started=started)
    if bench.rows.is_whole:
        bench.whole[PLAIN] = _whole_loss(bench, bench.ways[0], bench.ask.held.max_length)
    bench.loss_seconds = time.monotonic() - started


def score_best(bench: Bench) -> None:
    """The best prompt's loss on every validation row."""
    best = baseline.best_of(figures_of(bench))
    if best not in bench.whole and bench.rows.is_whole:
        way = next(each for each in bench.ways if each.kind == best)
        bench.whole[best] = _whole_loss(bench, way, bench.positions)


def _losses(
    bench: Bench, rows: "Numbered", max_length: int, *, before: int = 0, total: int | None = None, started: float = 0.0
) -> dict[int, tuple[int, float]]:
    from trainers.models.scoring import answer_losses

    found, told, total = {}, 0.0, total or len(rows)
    started = started or time.monotonic()
    for each in answer_losses(bench.model, bench.renderer, rows, max_length=max_length, findings=Findings()):
        found[each.row] = each.tokens, each.loss
        now = time.monotonic()
        if now - told >= PROGRESS_SECONDS:
            told, done = now, before + len(found)
            bench.tell(done, total, "rows", (now - started) / done * (total - done))
    return found


def _whole_loss(bench: Bench, way: "Way", max_length: int) -> float | None:
    """The loss over every validation row: what a run of it would report as its first eval_loss."""
    from trainers.baselines.baseline_prompts import asked

    found = bench.losses[way.kind]
    if len(bench.rows.compared) < len(bench.rows.validation) or "rows_shortened" in bench.findings.rows:
        found = _losses(bench, asked(way, bench.rows.validation), max_length)
    in_order = [found[row] for row, _ in bench.rows.validation if row in found]
    return baseline.eval_loss(in_order, bench.ask.held.per_device_eval_batch_size)


# -- answers ---------------------------------------------------------------------------------------------------------


def answer_all(bench: Bench) -> None:
    """Every prompt's answers to as many rows as the time allows, the same rows for all of them."""
    started = time.monotonic()
    until = started + bench.ask.seconds
    # Answers are asked without tools, so a row that offers some would be judged unfairly.
    rows = [each for each in _shuffled(bench) if not each[1].tools]
    # The likeliest prompts first, in case there is time for one alone; what the model's template refuses is not asked.
    ways = sorted((way for way in bench.ways if bench.losses[way.kind]), key=lambda way: _mean_loss(bench, way))
    total, bench.said = len(rows) * len(ways), {way.kind: [] for way in ways}
    while rows and time.monotonic() < until:
        size = ROUNDS[min(len(bench.answered), len(ROUNDS) - 1)]
        part, rows = rows[:size], rows[size:]
        said = _round(bench, ways, part, until)
        if len(said) < len(ways) and bench.answered:
            break
        for kind, texts in said.items():
            bench.said[kind] += texts
        bench.answered += part
        bench.tell(sum(map(len, bench.said.values())), total, "answers", until - time.monotonic())
    bench.answer_seconds = time.monotonic() - started


def _mean_loss(bench: Bench, way: "Way") -> float:
    losses = [loss for _, loss in bench.losses[way.kind].values()]
    return sum(losses) / len(losses)


def _shuffled(bench: Bench) -> "Numbered":
    from random import Random

    kept = [each for each in bench.rows.compared if all(each[0] in found for found in bench.losses.values() if found)]
    return Random(bench.ask.held.seed).sample(kept, len(kept))


def _round(bench: Bench, ways: "list[Way]", part: "Numbered", until: float) -> dict[str, list[str]]:
    """The prompts' answers to some rows; those for which the time sufficed."""
    from studio.evaluation.prompts import last_answer
    from trainers.baselines.baseline_prompts import asked
    from trainers.models.batched import answer_all as answers

    said: dict[str, list[str]] = {}
    tokens = _answer_tokens(bench.renderer, bench.rows)
    for way in ways:
        messages = [sample.messages for _, sample in asked(way, part)]
        questions = [bench.renderer.prompt(_plain_turns(each[: last_answer(each)])) for each in messages]
        made = answers(bench.model, bench.renderer, questions, max_new_tokens=tokens, until=until)
        if made is None:
            break
        said[way.kind] = [text.strip() for text in made]
    return said


def _plain_turns(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in turn.items() if key != "weight"} for turn in messages]


if __name__ == "__main__":
    run_attempt(main)

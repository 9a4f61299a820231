"""From what the bench of prompts found to its report: figures of each prompt, the best one, and every answer."""

from typing import TYPE_CHECKING

from studio.evaluation import baseline
from studio.evaluation.baseline import Asked, BaselineReport, PromptResult
from studio.protocol import utc_now

if TYPE_CHECKING:
    from studio.evaluation.task import Score
    from trainers.baseline import Bench
    from trainers.baselines.baseline_prompts import Way

NOTED = ("rows_shortened", "rows_with_last_answer_only")
"""Findings about rows that do have a loss."""


def figures_of(bench: "Bench") -> list[PromptResult]:
    """Figures of each prompt."""
    return [_result(bench, way) for way in bench.ways]


def _result(bench: "Bench", way: "Way") -> PromptResult:
    losses, scores = bench.losses[way.kind], scores_of(bench, way.kind)
    in_order = [losses[row] for row, _ in bench.rows.compared if row in losses]
    right = sum(bool(each.right) for each in scores) if scores and bench.task.is_decidable else None
    return PromptResult(
        kind=way.kind,
        system=way.system,
        is_proposed=way.is_proposed,
        shown=way.shown,
        rows=len(losses),
        validation_loss=bench.whole.get(way.kind),
        loss=baseline.eval_loss(in_order, bench.ask.held.per_device_eval_batch_size),
        answered=len(scores),
        right=right,
        interval=None if right is None else _interval(right, len(scores)),
        exact=_mean([each.exact for each in scores]),
        f1=_mean([each.f1 for each in scores]),
        follows=_mean([each.follows for each in scores]),
    )


def scores_of(bench: "Bench", kind: str) -> "list[Score]":
    from studio.evaluation.task import scores

    said = bench.said.get(kind, [])
    return scores(bench.task, said, _wanted(bench)[: len(said)]) if said else []


def _wanted(bench: "Bench") -> list[str]:
    from studio.evaluation.prompts import question_and_answer

    return [question_and_answer(sample.messages)[1] for _, sample in bench.answered]


def _interval(right: int, count: int) -> tuple[float, float]:
    from scipy.stats import binomtest

    found = binomtest(right, count).proportion_ci(0.95, method="wilson")
    return float(found.low), float(found.high)


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def report_of(bench: "Bench") -> BaselineReport:
    spec, rows, task = bench.attempt.spec, bench.rows, bench.task
    results = figures_of(bench)
    best = baseline.best_of(results)
    schema = task.schema
    wanted = {"kind": schema.kind, "labels": list(schema.labels), "keys": list(schema.keys)}
    return BaselineReport(
        model=spec.model.name,
        dataset=spec.dataset.name,
        version=spec.dataset.version,
        task=task.kind,
        wanted=wanted | {"shortest": task.shortest, "longest": task.longest, "opening": task.opening},
        held=bench.ask.held,
        is_held_out=rows.is_held_out,
        validation_rows=rows.num_validation,
        rows=len(rows.compared),
        prompts=results,
        best=best,
        verdict=baseline.verdict_of(next(each for each in results if each.kind == best)),
        loss_seconds=round(bench.loss_seconds, 2),
        answer_seconds=round(bench.answer_seconds, 2),
        most_seconds=round(bench.ask.seconds, 2),
        created_at=utc_now(),
        left_out={code: len(numbers) for code, numbers in bench.findings.rows.items() if code not in NOTED},
    )


def answers_of(bench: "Bench") -> list[Asked]:
    """The compared rows in their order, those that were answered with what was said."""
    from studio.evaluation.prompts import question_and_answer

    scores = {kind: scores_of(bench, kind) for kind in bench.said}
    places = {row: place for place, (row, _) in enumerate(bench.answered)}
    listed = []
    for row, sample in bench.rows.compared:
        question, wanted = question_and_answer(sample.messages)
        place = places.get(row)
        there = [] if place is None else [kind for kind, texts in bench.said.items() if place < len(texts)]
        listed.append(
            Asked(
                row=row,
                question=question,
                wanted=wanted,
                answers={kind: bench.said[kind][place] for kind in there},
                right={kind: scores[kind][place].right for kind in there},
                follows={kind: scores[kind][place].follows for kind in there},
            )
        )
    return listed

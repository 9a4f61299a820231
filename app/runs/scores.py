"""What a run's evaluations say beyond their loss: which label was taken for which, and what became of an old task.

One table has a line for each true label, a column for what the model said, F1 beside it; another a line for each
evaluation, the newest first; a third the loss on old and on new rows side by side.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from app.context import Context
from app.markup import table
from studio.db import jobs, metrics

MOST_LABELS = 30
"""More make no readable table; then only F1 stands there."""
MOST_EVALUATIONS = 12
OLD_LOSS = "eval_old_loss"
FORGOTTEN = 0.1
"""From this share of its loss on, the old task counts as partly forgotten (ours)."""


def draw(context: Context, job_id: int) -> str:
    """Both tables of a run that sorts into labels; nothing for other runs."""
    with context.registry.session() as session:
        told = [event.data for event in jobs.events(session, job_id, types=("confusion",))]
        old, new = (_points(session, job_id, name) for name in (OLD_LOSS, "eval_loss"))
    labels = confusion_html(context, told[-1]) + course_html(context, told) if told else ""
    return labels + (old_and_new_html(context, old, new) if old else "")


def old_and_new_html(context: Context, old: Mapping[int, float], new: Mapping[int, float]) -> str:
    """Loss on held-out rows of the old and of the new task, from before the first step on."""
    say, steps = context.say, sorted(old)
    first, last = steps[0], steps[-1]
    rose = old[last] - old[first]
    key = "kept" if rose < FORGOTTEN * max(old[first], 1e-9) else "forgotten"
    told = say(f"runs.labels.old.{key}", before=f"{old[first]:.3f}", after=f"{old[last]:.3f}", step=last)
    shown = sorted({first, *steps[-MOST_EVALUATIONS:]})
    rows = [[f"{step:,}", f"{old[step]:.3f}", f"{new[step]:.3f}" if step in new else "–"] for step in shown]
    columns = [say("checkpoints.column.step"), say("runs.labels.old.old"), say("runs.labels.old.new")]
    title = f'<h2 class="lu-part">{escape(say("runs.labels.old.title"))}</h2>'
    return f'{title}<p class="lu-note lu-num">{escape(told)}</p>{table(columns, rows)}'


def _points(session: Any, job_id: int, name: str) -> dict[int, float]:
    """Step -> value; of a step that a resumed run did again, the newer one."""
    found = metrics.points(session, job_id, name)
    return dict(zip(found.steps.tolist(), found.values.tolist(), strict=True))


def confusion_html(context: Context, found: Mapping[str, Any]) -> str:
    say, labels = context.say, found["labels"]
    shown = labels if len(labels) <= MOST_LABELS else []
    columns = [say("runs.labels.truth"), *shown, say("runs.labels.f1")]
    rows = [
        [escape(label), *(_cell(count, number == place) for place, count in enumerate(counts) if shown), _score(score)]
        for number, (label, counts, score) in enumerate(zip(labels, found["counts"], found["f1"], strict=True))
    ]
    right, total = _right(found)
    told = say("runs.labels.note", right=right, count=total, step=found["step"])
    title = f'<h2 class="lu-part">{escape(say("runs.labels.title"))}</h2>'
    return f'{title}<p class="lu-note lu-num">{escape(told)}</p>{table(columns, rows)}'


def course_html(context: Context, told: Sequence[Mapping[str, Any]]) -> str:
    """Evaluations, the newest first; a resumed run's repeated ones once."""
    say = context.say
    by_step = {found["step"]: found for found in told}
    newest = sorted(by_step.items(), reverse=True)[:MOST_EVALUATIONS]
    rows = [[f"{step:,}", _share(*_right(found)), _score(mean_f1(found["f1"]))] for step, found in newest]
    columns = [say("checkpoints.column.step"), say("runs.labels.accuracy"), say("runs.labels.mean_f1")]
    return table(columns, rows, caption=say("runs.labels.course"))


def mean_f1(scores: Sequence[float | None]) -> float | None:
    """The mean over the labels that were there or were said, so that a rare one counts as much as a frequent one."""
    known = [score for score in scores if score is not None]
    return sum(known) / len(known) if known else None


def _right(found: Mapping[str, Any]) -> tuple[int, int]:
    right = sum(counts[number] for number, counts in enumerate(found["counts"]))
    return right, sum(map(sum, found["counts"]))


def _cell(count: int, is_right: bool) -> str:
    """What was taken rightly stands in bold; nothing at all is a dash."""
    text = f"{count:,}" if count else "–"
    return f"<b>{text}</b>" if is_right else text


def _share(right: int, total: int) -> str:
    return f"{right / total:.0%}".replace("%", " %") if total else "–"


def _score(score: float | None) -> str:
    return "–" if score is None else f"{score:.2f}"

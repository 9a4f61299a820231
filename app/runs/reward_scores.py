"""What a reward model says of held-out pairs: how often it is right, how its scores lie, whether it likes length."""

from collections.abc import Mapping
from html import escape
from typing import Any

from app.context import Context
from app.markup import notice, table
from studio.db import jobs

LIKES_LENGTH = 0.7
"""Correlation of score and length from which the model may judge by length alone. Ours."""
FELL_SHORT = 0.15
"""So much lower may accuracy be, where the better answer is the shorter one, before it is said. Ours."""


def draw(context: Context, job_id: int) -> str:
    """Of a reward model's newest evaluation; nothing for other runs."""
    with context.registry.session() as session:
        told = [event.data for event in jobs.events(session, job_id, types=("reward_scores",))]
    return scores_html(context, told[-1]) if told else ""


def scores_html(context: Context, found: Mapping[str, Any]) -> str:
    say = context.say
    title = f'<h2 class="lu-part">{escape(say("runs.rewards.title"))}</h2>'
    values = {name: f"{found[name]:.2f}" for name in ("mean", "std", "margin")}
    told = say("runs.rewards.note", share=_share(found["accuracy"]), count=found["pairs"], step=found["step"], **values)
    return f'{title}<p class="lu-note lu-num">{escape(told)}</p>{bars_html(context, found)}{_length(context, found)}'


def bars_html(context: Context, found: Mapping[str, Any]) -> str:
    """Scores of the worse answers and of the better ones side by side; below it the same as a table."""
    say, edges = context.say, found["edges"]
    sides = {"before": ("worse", found["worse"]), "after": ("better", found["better"])}
    most = max(max(counts) for _, counts in sides.values()) or 1
    legend = "".join(
        f'<span><i class="lu-bar-{tone}"></i>{escape(say(f"runs.rewards.{side}"))}</span>'
        for tone, (side, _) in sides.items()
    )
    bars = "".join(
        '<div><span class="lu-bars-pair">'
        + "".join(
            f'<i class="lu-bar-{tone}" style="height:{100 * counts[place] / most:.1f}%"></i>'
            for tone, (_, counts) in sides.items()
        )
        + f'</span><span class="lu-bars-edge">{edges[place]:.1f}</span></div>'
        for place in range(len(edges) - 1)
    )
    heads = [say("runs.rewards.score"), say("runs.rewards.worse"), say("runs.rewards.better")]
    rows = [
        [f"{low:.2f} … {high:.2f}", f"{worse:,}", f"{better:,}"]
        for low, high, worse, better in zip(edges, edges[1:], found["worse"], found["better"], strict=False)
    ]
    return (
        f'<figure class="lu-bars"><figcaption>{legend}</figcaption>'
        f'<div class="lu-bars-plot" aria-hidden="true">{bars}</div>'
        f"<details><summary>{escape(say('runs.rewards.table'))}</summary>{table(heads, rows)}</details></figure>"
    )


def _length(context: Context, found: Mapping[str, Any]) -> str:
    """Whether the scores follow the answers' length."""
    if found["length_correlation"] is None or found["longer_is_better"] is None:
        return ""
    shorter = found["accuracy_when_shorter"]
    fell_short = shorter is not None and found["accuracy"] - shorter > FELL_SHORT
    likes = found["length_correlation"] >= LIKES_LENGTH or fell_short
    words = context.say(
        "runs.rewards.likes_length" if likes else "runs.rewards.length",
        correlation=f"{found['length_correlation']:.2f}",
        longer=_share(found["longer_is_better"]),
        shorter="–" if shorter is None else _share(shorter),
    )
    return notice(words, "warn") if likes else f'<p class="lu-note lu-num">{escape(words)}</p>'


def _share(value: float) -> str:
    return f"{value:.0%}".replace("%", " %")

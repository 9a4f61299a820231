"""Below the curves of a run that learns from rewards: what it answered at a step, and what each rule gave.

`draw(context, job_id, chosen) -> HTML` of a panel on the run's page, `press(context, job_id, told, chosen)` the step to
show from then on; an empty one follows the newest.
"""

from collections.abc import Mapping
from html import escape
from typing import Any

from app.context import Context
from app.data import controls
from app.data.panel import Told
from app.i18n import number_text
from app.markup import chip
from app.rewards import words
from studio.db import jobs, rollouts
from studio.errors import RefusedInput, UnknownName
from studio.rewards.recipe import parse

FOLDED = 600
"""Characters from which an answer is folded; so many of it are shown."""


def draw(context: Context, job_id: int | None, chosen: str = "") -> str:
    """The panel; empty where the run has told no answers."""
    if job_id is None:
        return ""
    try:
        with context.registry.session() as session:
            job, known = jobs.job(session, job_id), rollouts.steps(session, job_id)
            shown = _shown(list(known), chosen)
            told = rollouts.rollout(session, known[shown]) if shown is not None else None
    except UnknownName:
        return ""
    if told is None:
        return ""
    say = context.say
    return (
        f'<h2 class="lu-part">{escape(say("runs.answers.title"))}</h2>'
        f'<p class="lu-note">{escape(say("runs.answers.note"))}</p>'
        + _steps_html(context, list(known), shown)
        + rollout_html(context, told, _titles(context, job.values))
    )


def press(context: Context, job_id: int, told: Told, chosen: str) -> str:
    """The step to show: another one, or empty for whatever is newest."""
    with context.registry.session() as session:
        steps = list(rollouts.steps(session, job_id))
    shown = _shown(steps, chosen)
    if shown is None:
        return ""
    place = steps.index(shown)
    match told.do:
        case "back":
            place = max(0, place - 1)
        case "forward":
            place += 1
        case "first":
            place = 0
        case "newest":
            return ""
        case "step":
            shown = _shown(steps, told.text("step"))
            place = steps.index(shown) if shown in steps else place
    return "" if place >= len(steps) - 1 else str(steps[place])


def rollout_html(context: Context, told: Mapping[str, Any], titles: Mapping[str, str]) -> str:
    """One question, and below it the answers with their scores."""
    question = f'<p class="lu-note">{escape(context.say("runs.answers.question", row=told["row"]))}</p>'
    answers = "".join(_answer_html(context, each, place, titles) for place, each in enumerate(told["answers"], start=1))
    return f'{question}<div class="lu-sample">{_folded(context, told["question"], "question")}</div>{answers}'


def _answer_html(context: Context, each: Mapping[str, Any], place: int, titles: Mapping[str, str]) -> str:
    say = context.say
    total = say("runs.answers.no_reward") if each["reward"] is None else number_text(round(each["reward"], 3))
    rules = "".join(
        chip(f"{titles.get(key, key)}: {'–' if value is None else number_text(round(value, 3))}")
        for key, value in each["values"].items()
    )
    head = f'<strong class="lu-num">{escape(total)}</strong> {rules}'
    name = escape(say("runs.answers.answer", place=place))
    return (
        f'<section class="lu-rollout" aria-label="{name}"><p class="lu-rollout-head"><span>{name}</span> {head}</p>'
        f'<div class="lu-sample">{_folded(context, each["text"], f"answer-{place}")}</div></section>'
    )


def _folded(context: Context, text: str, key: str) -> str:
    """A text; of a long one the beginning, and the rest to be unfolded."""
    if not text.strip():
        return f"<em>{escape(context.say('runs.answers.empty'))}</em>"
    if len(text) <= FOLDED:
        return escape(text)
    more = context.say("runs.answers.more", count=len(text) - FOLDED)
    rest = f'<details data-key="{escape(key)}"><summary>{escape(more)}</summary>{escape(text[FOLDED:])}</details>'
    return escape(text[:FOLDED]) + rest


def _steps_html(context: Context, steps: list[int], shown: int) -> str:
    """Where one is among the steps, and the way to the others."""
    say, place = context.say, steps.index(shown)
    choices = [(say("runs.answers.step", step=f"{step:,}"), str(step)) for step in reversed(steps)]
    return controls.form(
        controls.pager(
            say("runs.answers.back"),
            say("runs.answers.forward"),
            say("runs.answers.place", place=place + 1, count=len(steps)),
            has_back=place > 0,
            has_forward=place < len(steps) - 1,
        ),
        controls.select("step", say("runs.answers.choose"), choices, str(shown), change="step", hides_label=True),
        controls.buttons(
            controls.button("first", say("runs.answers.first"), kind="link") if place else "",
            controls.button("newest", say("runs.answers.newest"), kind="link") if place < len(steps) - 1 else "",
        ),
        classes="lu-rollout-steps",
        fresh=f"{shown}-{len(steps)}",
    )


def _shown(steps: list[int], chosen: str) -> int | None:
    """The chosen step, or the one before it where it is gone; the newest where none is chosen."""
    if not steps or not chosen.isdecimal():
        return steps[-1] if steps else None
    return max((step for step in steps if step <= int(chosen)), default=steps[0])


def _titles(context: Context, values: Mapping[str, Any]) -> dict[str, str]:
    try:
        return words.titles(context, parse(values.get("rewards")))
    except RefusedInput:
        return {}

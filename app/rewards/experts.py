"""What people say of a model's answers, put to use: rows to rate, and pairs for the next reward model."""

from html import escape
from typing import Any

from app.context import Context
from app.data import controls
from app.data.panel import Pressed, State, Told
from app.i18n import page_path
from app.markup import link
from studio.db import datasets
from studio.db.datasets import DatasetSummary
from studio.rewards import kept
from studio.rewards.kept import Trial
from studio.workshop.labelling.marks import GOOD


def marked(marks: list[dict[str, Any]], told: Told, trial: Trial | None) -> list[dict[str, Any]]:
    """A mark set, changed, or with a second press taken back; it bears the answer that was read."""
    where = {"kind": told.data.get("which", ""), "row": told.number("row") or 0, "place": told.number("place") or 0}
    same = [mark for mark in marks if {key: mark[key] for key in where} == where]
    others = [mark for mark in marks if mark not in same]
    if any(mark["rating"] == told.do for mark in same):
        return others
    shown = [*trial.report.best, *trial.report.worst] if trial else []
    answer = next((it.answer for it in shown if {key: getattr(it, key) for key in where} == where), "")
    return [*others, {**where, "rating": told.do, "answer": answer}]


def press(context: Context, chosen: DatasetSummary, state: State, told: Told) -> Pressed:
    name = f"{chosen.name}@{chosen.version}"
    if told.do == "rate":
        return Pressed(state, job=context.desk.rate_samples(name, told.text("into")))
    return Pressed(state, job=context.desk.pairs_of_marks(name, state.get("marks") or [], told.text("into")))


def experts_html(context: Context, chosen: DatasetSummary, trial: Trial, marks: list[dict[str, Any]]) -> str:
    """Two ways from answers to preference pairs: a round of rating by several people, or one's own marks above."""
    say = context.say
    rejected = sum(mark["rating"] != GOOD for mark in marks)
    has_samples = kept.newest_samples(context.desk.workspace, chosen.content_hash) is not None
    parts = [
        _part(context, chosen, "rate", "answers", "" if has_samples else say("reward.page.experts.no_samples")),
        _part(context, chosen, "pairs", "pairs", "" if rejected else say("reward.page.experts.nothing_rejected")),
    ]
    title = f'<h2 class="lu-part">{escape(say("reward.page.experts.title"))}</h2>'
    return title + f'<p class="lu-note">{escape(say("reward.page.experts.lead"))}</p>' + "".join(parts)


def _part(context: Context, chosen: DatasetSummary, do: str, suffix: str, why_not: str) -> str:
    say, into = context.say, f"{chosen.name}-{suffix}"[:64]
    with context.registry.session() as session:
        known = {each.name for each in datasets.list_datasets(session)}
    made = ""
    if into in known:
        place = page_path(context.language, "data", dataset=into, tab="label" if do == "rate" else "rows")
        made = f"<p>{link(place, say('reward.page.experts.open', name=into))}</p>"
        number = next(number for number in range(2, len(known) + 3) if f"{into}-{number}" not in known)
        into = f"{into}-{number}"
    name = controls.text("into", say("reward.page.experts.into"), into)
    button = controls.button(do, say(f"reward.page.experts.{do}"), why_not=why_not)
    note = f'<p class="lu-note">{escape(say(f"reward.page.experts.{do}_note"))}</p>'
    return controls.form(note, name, controls.buttons(button), made, classes="lu-card")

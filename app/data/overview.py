"""The list of data sets, and the head of the one that is open: counts, what was done last, Undo."""

from html import escape

from app import dataset_view as view
from app.context import Context
from app.data import words
from app.data.controls import button
from app.markup import chip, notice
from studio.db import datasets
from studio.db.datasets import DatasetSummary
from studio.errors import RefusedInput, UnknownName


def list_html(context: Context, known: list[DatasetSummary], chosen: str) -> str:
    """One button a data set: name, version, rows, problems."""
    entries = "".join(f"<li>{_entry(context, each, each.name == chosen)}</li>" for each in known)
    return f'<nav class="lu-data-list" aria-label="{escape(context.say("data.datasets"))}"><ul>{entries}</ul></nav>'


def _entry(context: Context, each: DatasetSummary, is_chosen: bool) -> str:
    say = context.say
    counts = f"{say('data.rows_chip', count=each.rows)} · {say('data.version', number=each.version)}"
    problems = chip("▲ " + say("data.problems_chip", count=each.problems), "warn") if each.problems else ""
    current = ' aria-current="true"' if is_chosen else ""
    return (
        f'<button type="button" data-do="open" data-name="{escape(each.name)}" data-key="open-{escape(each.name)}"'
        f'{current}><strong>{escape(each.name)}</strong><span class="lu-note">{escape(counts)}</span>'
        f"{problems}</button>"
    )


def title_html(context: Context, chosen: DatasetSummary) -> str:
    """Name, counts, what the rows become in training, and the last change with its Undo."""
    return view.title_html(context, chosen) + _last_change(context, chosen)


def _last_change(context: Context, chosen: DatasetSummary) -> str:
    """What made this version, and the way back; and the way forward where there is a newer one."""
    with context.registry.session() as session:
        every = {each.version: each for each in datasets.versions(session, chosen.name)}
    say = context.say
    newest = max(every)
    parent = every.get(chosen.parent or 0)
    lines = []
    if parent:
        done = words.what_was_done(context, chosen, parent)
        sentence = say("data.last_change", done=done, before=parent.rows, count=chosen.rows)
        undo = button("undo", say("data.undo", number=parent.version), version=parent.version)
        lines.append(f"<span>{escape(sentence)}</span> {undo}")
    if newest > chosen.version:
        forward = button("redo", say("data.redo", number=newest), version=newest)
        lines.append(f"<span>{escape(say('data.newer', number=newest))}</span> {forward}")
    return "".join(f'<p class="lu-undo">{line}</p>' for line in lines)


def damaged(context: Context, chosen: DatasetSummary) -> str:
    return notice(RefusedInput("data.version_damaged", folder=chosen.path).message(context.language), "bad")


def unknown(context: Context, name: str, known: list[DatasetSummary]) -> str:
    """That the address names a data set that is not there."""
    names = ", ".join(each.name for each in known[:10])
    return notice(UnknownName("data.unknown", name=name, known=names).message(context.language), "warn")

"""Marking rows, one at a time beside the guide; and deciding those that annotators dispute or flagged."""

import random
from html import escape
from pathlib import Path
from typing import Any

from app import dataset_view as view
from app.context import Context
from app.data import controls
from app.data.label_rounds import form, words_in
from app.data.panel import Pressed, State, Told
from app.markup import chip, notice
from studio.db import label_results
from studio.db.datasets import DatasetSummary
from studio.db.label_results import MarkView
from studio.db.labels import RoundView, TaskView
from studio.workshop.labelling import label_rows
from studio.workshop.labelling.marks import LABELS, Judgement, Scale, disputes
from studio.workshop.versions.layout import Row
from studio.workshop.versions.reader import rows_at

_TAG = "tag:"
NAMES = "ABCDEFGHIJ"


# -- marking ---------------------------------------------------------------------------------------------------------


def marking_html(context: Context, chosen: DatasetSummary, current: RoundView, state: State) -> str:
    say = context.say
    who = state.get("who")
    if not who:
        return _who_html(context, say("data.labelling.who_note"))
    task = context.desk.labelling.next_row(current.id, who)
    if task is None:
        words = "data.labelling.is_closed" if current.is_closed else "data.labelling.all_done"
        undo = "" if current.is_closed else _undo_button(context)
        shown = notice(say(words, who=who), "good") + form(controls.buttons(undo), fresh="done", round=current.id)
        return _as_html(context, say("data.labelling.as", who=who)) + shown
    row = rows_at(Path(chosen.path), [task.row])[task.row]
    said = task.mark or Judgement(annotator=who)
    save = controls.button("save", say("data.labelling.save"), kind="primary", settles=True)
    skip = controls.button("skip", say("data.labelling.skip"), settles=True)
    buttons = controls.buttons(_key(save, "Enter"), _key(skip, "s"), _undo_button(context))
    fields = _fields(context, chosen, current, row, said, draft=f"save-{task.id}")
    fields += _key(controls.checkbox("flag", say("data.labelling.flag"), said.is_flagged), "f", "<input")
    fields_form = form(
        fields, buttons, _keys_html(context, current.scale), fresh=f"save-{task.id}", **_of(current, task)
    )
    left = _row_html(context, chosen, row) + _problem_html(context, state) + fields_form
    return _as_html(context, say("data.labelling.as", who=who)) + _pair(left, _guide_html(context, current))


def save(context: Context, current: RoundView, state: State, told: Told) -> Pressed:
    who = state.get("who", "")
    said = said_in(told, who)
    if is_empty(said):
        return Pressed(state | {"problem": "errors.labels.nothing_said"})
    context.desk.labelling.mark(told.number("task") or 0, who, told.data.get("digest", ""), said)
    return Pressed(_settled(state))


def skip(context: Context, current: RoundView, state: State, told: Told) -> Pressed:
    context.desk.labelling.skip(told.number("task") or 0, state.get("who", ""), told.data.get("digest", ""))
    return Pressed(_settled(state))


def undo(context: Context, current: RoundView, state: State, told: Told) -> Pressed:
    context.desk.labelling.undo(current.id, state.get("who", ""))
    return Pressed(_settled(state))


def edit_guide(context: Context, current: RoundView, state: State, told: Told) -> Pressed:
    context.desk.labelling.edit_guide(current.id, told.text("guide"))
    return Pressed(state)


# -- arbitration -----------------------------------------------------------------------------------------------------


def arbitration_html(context: Context, chosen: DatasetSummary, current: RoundView, state: State) -> str:
    """The first row in dispute, its marks side by side without names until it is decided."""
    say = context.say
    who = state.get("who")
    last = notice(state.get("decided", ""), "good") + _problem_html(context, state)
    if not who:
        return _who_html(context, say("data.labelling.arbiter_note"))
    with context.registry.session() as session:
        waiting = label_results.disputed(session, current.id)
    if not waiting:
        return (
            _as_html(context, say("data.labelling.deciding_as", who=who))
            + last
            + notice(say("data.labelling.no_disputes"), "good")
        )
    task, said = waiting[0]
    shown = _shuffled(task, said)
    row = rows_at(Path(chosen.path), [task.row])[task.row]
    draft = f"decide-{task.id}-{state.get('take', '')}"
    taken = shown[state["take"]] if state.get("take", -1) in range(len(shown)) else None
    fields = _fields(context, chosen, current, row, _proposal(taken), draft=draft)
    decide = controls.button("decide", say("data.labelling.decide"), kind="primary", settles=True)
    note = f'<p class="lu-note">{escape(say("data.labelling.final"))}</p>'
    fields_form = form(fields, controls.buttons(_key(decide, "Enter")), note, fresh=draft, **_of(current, task))
    cards = "".join(_card(context, current, place, mark) for place, mark in enumerate(shown))
    reasons = disputes(current.scale, [each.judgement() for each in said])
    why = "".join(chip(say(f"data.labelling.dispute.{reason}"), "warn") for reason in reasons)
    left = _row_html(context, chosen, row, head=why) + f'<div class="lu-label-cards">{cards}</div>' + fields_form
    return (
        _as_html(context, say("data.labelling.deciding_as", who=who))
        + last
        + _pair(left, _guide_html(context, current))
    )


def take(context: Context, current: RoundView, state: State, told: Told) -> Pressed:
    """Fill the decision in from one of the marks."""
    return Pressed(_settled(state) | {"take": told.number("place")})


def decide(context: Context, current: RoundView, state: State, told: Told) -> Pressed:
    who = state.get("who", "")
    task_id = told.number("task") or 0
    with context.registry.session() as session:
        waiting = {task.id: (task, said) for task, said in label_results.disputed(session, current.id)}
    said_last = said_in(told, who)
    if is_empty(said_last):
        return Pressed(state | {"problem": "errors.labels.nothing_said"})
    context.desk.labelling.decide(task_id, who, told.data.get("digest", ""), said_last)
    after = _settled(state)
    if task_id in waiting:
        task, said = waiting[task_id]
        names = (f"{NAMES[place]}: {mark.annotator}" for place, mark in enumerate(_shuffled(task, said)))
        after["decided"] = context.say("data.labelling.decided", row=task.row, names=" · ".join(names))
    return Pressed(after)


def _settled(state: State) -> State:
    """The state without what was told of the last press."""
    return {name: value for name, value in state.items() if name not in ("take", "decided", "problem")}


ACTS = {"save": save, "skip": skip, "undo": undo, "guide": edit_guide, "take": take, "decide": decide}


def _shuffled(task: TaskView, said: list[MarkView]) -> list[MarkView]:
    """The marks in an order that tells nothing of who made them, and is the same at every look."""
    marks = [each for each in said if not each.is_decision]
    random.Random(task.id).shuffle(marks)
    return marks[: len(NAMES)]


def _proposal(taken: MarkView | None) -> Judgement:
    return taken.judgement() if taken else Judgement(annotator="")


def _card(context: Context, current: RoundView, place: int, mark: MarkView) -> str:
    """One annotator's mark, without the name."""
    say = context.say
    parts = [f"<strong>{escape(rating_words(context, current.scale, mark.rating))}</strong>"]
    parts += [chip(tag) for tag in mark.tags]
    parts += [chip("⚑ " + say("data.labelling.flagged"), "warn")] if mark.is_flagged else []
    if mark.correction is not None:
        parts.append(f'<p class="lu-note">{escape(say("data.labelling.corrected_to"))}</p>')
        parts.append(f'<div class="lu-answer">{escape(mark.correction)}</div>')
    if mark.note:
        parts.append(f'<p class="lu-note">{escape(say("data.labelling.note"))}: {escape(mark.note)}</p>')
    use = controls.button("take", say("data.labelling.take"), kind="link", place=place, round=current.id)
    return f'<div class="lu-card"><span class="lu-note">{NAMES[place]}</span> {" ".join(parts)}<p>{use}</p></div>'


# -- what both share -------------------------------------------------------------------------------------------------


def said_in(told: Told, who: str) -> Judgement:
    """What the form says; an answer that was left as it is, is no correction."""
    written, original = (_plain(told.fields.get(name)) for name in ("correction", "original"))
    ticked = [name.removeprefix(_TAG) for name, value in told.fields.items() if name.startswith(_TAG) and value is True]
    return Judgement(
        annotator=who,
        rating=told.text("rating") or None,
        tags=(*ticked, *words_in(told.text("more_tags"))),
        correction=written if written.strip() and written != original else None,
        note=told.text("note"),
        is_flagged=told.fields.get("flag") is True,
    )


def is_empty(said: Judgement) -> bool:
    return said == Judgement(annotator=said.annotator)


def rating_words(context: Context, scale: Scale, rating: str | None) -> str:
    """`4` -> `4 · good`; labels are what people wrote."""
    if rating is None:
        return context.say("data.labelling.no_rating")
    if scale.kind == LABELS:
        return rating
    return context.say(f"data.labelling.value.{scale.kind}.{rating}")


def _fields(
    context: Context, chosen: DatasetSummary, current: RoundView, row: Row, said: Judgement, *, draft: str
) -> str:
    say = context.say
    answer = label_rows.answer(row, chosen.format)
    correct = ""
    if answer is not None:
        shown = answer if said.correction is None else said.correction
        field = controls.area(
            "correction", say("data.labelling.correction"), shown, rows=_lines(shown), draft=f"{draft}-correction"
        )
        field += f'<input type="hidden" name="original" value="{escape(answer)}">'
        title = say("data.labelling.correct")
        correct = controls.fold(title, field, key=f"correct-{draft}", is_open=said.correction is not None)
    more = say("data.labelling.more_tags")
    tags = "".join(controls.checkbox(_TAG + tag, tag, tag in said.tags) for tag in current.tags)
    tags += controls.text("more_tags", more, placeholder=more, kind="search")
    return (
        _rating_html(context, current.scale, said.rating)
        + f'<div class="lu-label-tags">{tags}</div>'
        + correct
        + controls.text("note", say("data.labelling.note"), said.note, enter=draft.partition("-")[0])
    )


def _rating_html(context: Context, scale: Scale, chosen: str | None) -> str:
    marks = "".join(
        f'<label><input type="radio" name="rating" value="{escape(value)}" data-shortcut="{place}"'
        f"{' checked' if value == chosen else ''}>"
        f"<span>{escape(rating_words(context, scale, value))}</span></label>"
        for place, value in enumerate(scale.values, 1)
    )
    label = escape(context.say("data.labelling.rating"))
    return f'<fieldset class="lu-label-rate"><legend>{label}</legend>{marks}</fieldset>'


def _problem_html(context: Context, state: State) -> str:
    return notice(context.say(state["problem"]), "warn") if state.get("problem") else ""


def _row_html(context: Context, chosen: DatasetSummary, row: Row, *, head: str = "") -> str:
    vague = label_rows.is_vague(label_rows.question(row, chosen.format))
    warn = chip("▲ " + context.say("data.labelling.vague"), "warn") if vague else ""
    title = f"<h3>{escape(context.say('data.row', row=row.row))}</h3>"
    spoken = view.spoken_html(context, row, chosen.format)
    return f'<article class="lu-data-row" data-row="{row.row}"><header>{title}{warn}{head}</header>{spoken}</article>'


def _guide_html(context: Context, current: RoundView) -> str:
    """The guide as text, and under a fold the field in which it is changed."""
    say = context.say
    area = controls.area("guide", say("data.labelling.guide"), current.guide, rows=12, draft=f"guide-{current.id}")
    keep = controls.button("guide", say("data.labelling.keep_guide"), settles=True)
    edit = controls.fold(
        say("data.labelling.edit_guide"),
        form(area, controls.buttons(keep), fresh=f"guide-{current.id}", round=current.id),
        key=f"edit-guide-{current.id}",
    )
    shown = escape(current.guide) or f'<span class="lu-soft">{escape(say("data.labelling.no_guide"))}</span>'
    return (
        f'<aside class="lu-card lu-label-guide"><h3>{escape(say("data.labelling.guide"))}</h3>'
        f'<div class="lu-answer">{shown}</div>{edit}</aside>'
    )


def _who_html(context: Context, note: str) -> str:
    say = context.say
    field = controls.text("who", say("data.labelling.who"), note=note, enter="who")
    field = field.replace("<input", '<input data-remember="annotator" maxlength="64"', 1)
    go = controls.button("who", say("data.labelling.go"), kind="primary")
    return form(field, controls.buttons(go), fresh="who")


def _as_html(context: Context, words: str) -> str:
    other = controls.button("other", context.say("data.labelling.other"), kind="link")
    return f'<p class="lu-note">{escape(words)} {other}</p>'


def _keys_html(context: Context, scale: Scale) -> str:
    return f'<p class="lu-note lu-label-keys">{escape(context.say("data.labelling.keys", most=len(scale.values)))}</p>'


def _undo_button(context: Context) -> str:
    return _key(controls.button("undo", context.say("data.labelling.undo"), settles=True), "u")


def _key(made: str, key: str, tag: str = "<button") -> str:
    """An element that a key presses as well."""
    return made.replace(tag, f'{tag} data-shortcut="{key}" aria-keyshortcuts="{key}"', 1)


def _of(current: RoundView, task: TaskView) -> dict[str, Any]:
    return {"round": current.id, "task": task.id, "digest": task.digest}


def _pair(left: str, right: str) -> str:
    return f'<div class="lu-label-pair"><div>{left}</div>{right}</div>'


def _plain(value: Any) -> str:
    """A browser gives every line break of a field as one character."""
    return value.replace("\r\n", "\n").replace("\r", "\n") if isinstance(value, str) else ""


def _lines(text: str) -> int:
    return min(14, max(3, text.count("\n") + len(text) // 70 + 1))

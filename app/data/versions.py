"""The Versions tab: what was done, notes, going back, comparing two, files out, and a folder or store to share with."""

from html import escape
from pathlib import Path
from typing import Any

from app import dataset_view as view
from app.context import Context
from app.data import controls, exports, following, words
from app.data.panel import Pressed, State, Tab, Told
from app.i18n import when_text
from app.markup import chip, notice, table
from studio.db import datasets
from studio.db.datasets import DatasetSummary
from studio.workshop import reports
from studio.workshop.reports import DiffRow

KINDS = ("added", "removed", "changed")
PAGE_DIFF = 10


def draw(context: Context, chosen: DatasetSummary, state: State) -> str:
    """State: note (a version whose note is being written), a and b (compared), kind, start."""
    every = _versions(context, chosen.name)
    say = context.say
    heads = [say(f"data.version_column.{name}") for name in ("number", "rows", "problems", "from")]
    lines = [_line(context, each, every, state) for each in every]
    return (
        table(heads, lines)
        + _compare_html(context, every, state)
        + exports.exports_html(context, chosen)
        + _remote_html(context, chosen)
    )


def press(context: Context, chosen: DatasetSummary, state: State, told: Told) -> Pressed:
    desk, name = context.desk, chosen.name
    match told.do:
        case "use":
            following.refuse_while_changing(context, name)
            desk.rollback_dataset(name, told.number("version") or chosen.version)
            return Pressed(state, reopen=True)
        case "save_note":
            desk.note_version(name, told.number("version") or chosen.version, told.text("note"))
            return Pressed({**state, "note": None}, reopen=True)
        case "compare":
            return _compared(context, chosen, {"a": told.text("a"), "b": told.text("b")})
        case "export":
            return Pressed(
                state, job=desk.export_dataset(f"{name}@{chosen.version}", format=told.data.get("format", ""))
            )
        case "push":
            return Pressed(state, job=desk.push_dataset(f"{name}@{chosen.version}", told.text("remote")))
        case "pull":
            into = told.text("into") or None
            return Pressed(state, job=desk.pull_dataset(told.text("remote"), told.text("pulled") or name, into=into))
    return Pressed(_browsed(state, told))


TAB = Tab("versions", draw, press)


def _compared(context: Context, chosen: DatasetSummary, state: State) -> Pressed:
    a, b = _number(state["a"]), _number(state["b"])
    if a is None or b is None or a == b:
        return Pressed(state)
    return Pressed(state, job=context.desk.diff_datasets(chosen.name, a, b))


def _browsed(state: State, told: Told) -> State:
    match told.do:
        case "note":
            return {**state, "note": told.number("version")}
        case "kind":
            return {**state, "kind": told.data.get("kind"), "start": 0}
        case "back" | "forward":
            turn = PAGE_DIFF if told.do == "forward" else -PAGE_DIFF
            return {**state, "start": max(0, state.get("start", 0) + turn)}
    return {**state, "note": None}


def _number(text: Any) -> int | None:
    return int(text) if isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) < 9 else None


def _versions(context: Context, name: str) -> list[DatasetSummary]:
    with context.registry.session() as session:
        return datasets.versions(session, name)


# -- the list ------------------------------------------------------------------------------------------------------


def _line(context: Context, each: DatasetSummary, every: list[DatasetSummary], state: State) -> list[str]:
    say = context.say
    parents = {one.version: one for one in every}
    number = str(each.version) + (" " + chip(say("data.current"), "info") if each.is_current else "")
    done = escape(words.what_was_done(context, each, parents.get(each.parent or 0)))
    acts = "" if each.is_current else controls.button("use", say("data.use_version"), kind="link", version=each.version)
    made = f'<p class="lu-note">{escape(when_text(each.created_at, context.language))}</p>'
    return [
        number + made,
        f"{each.rows:,}",
        f"{each.problems:,}",
        f"{done} {acts}" + _note_html(context, each, state),
    ]


def _note_html(context: Context, each: DatasetSummary, state: State) -> str:
    say, note = context.say, each.manifest.get("note") or ""
    if state.get("note") == each.version:
        field = controls.text("note", say("data.version_note"), note)
        save = controls.button("save_note", say("data.save_note"), version=each.version)
        return controls.form(field, save, controls.button("cancel", say("data.rows.cancel")), classes="lu-bar-form")
    words_shown = f'<p class="lu-note">“{escape(note)}”</p>' if note else ""
    label = say("data.edit_note" if note else "data.add_note")
    return words_shown + " " + controls.button("note", label, kind="link", version=each.version)


# -- comparing -----------------------------------------------------------------------------------------------------


def _compare_html(context: Context, every: list[DatasetSummary], state: State) -> str:
    """Choose two versions; how they differ, row by row."""
    say = context.say
    if len(every) < 2:
        return ""
    choices = [(say("data.version", number=each.version), str(each.version)) for each in every]
    a = state.get("a") or str(every[1].version)
    b = state.get("b") or str(every[0].version)
    fields = controls.form(
        controls.select("a", say("data.compare.a"), choices, a),
        controls.select("b", say("data.compare.b"), choices, b),
        controls.button("compare", say("data.compare.do")),
        classes="lu-bar-form",
    )
    title = f'<h2 class="lu-part">{escape(say("data.compare.title"))}</h2>'
    return title + fields + (_diff_html(context, every, state) if state.get("a") else "")


def _diff_html(context: Context, every: list[DatasetSummary], state: State) -> str:
    say = context.say
    if state["a"] == state["b"]:
        return notice(say("data.compare.same"))
    folders = {str(each.version): Path(each.path) for each in every}
    if state["a"] not in folders or state["b"] not in folders:
        return ""
    kept = reports.find_diff(context.desk.workspace, folders[state["a"]], folders[state["b"]])
    if kept is None:
        return ""
    report = reports.read_diff(kept)
    counts = {kind: getattr(report, kind) for kind in KINDS}
    kind = state.get("kind") or next((each for each in KINDS if counts[each]), "")
    picks = "".join(
        controls.button(
            "kind", say(f"data.compare.{each}", count=counts[each]), kind="primary" if each == kind else "", kind_=each
        )
        for each in KINDS
    )
    same = f'<p class="lu-note">{escape(say("data.compare.same_rows", count=report.same))}</p>'
    if not kind or not counts[kind]:
        return controls.buttons(picks) + same
    start = min(state.get("start", 0), max(0, counts[kind] - 1))
    rows = reports.read_diff_rows(kept, start=start, count=PAGE_DIFF, kind=kind)
    lines = "".join(_diff_row_html(context, each) for each in rows)
    place = say("data.rows.place_of", first=start + 1, last=start + len(rows), total=counts[kind])
    turn = controls.pager(
        say("data.back"), say("data.forward"), place, has_back=start > 0, has_forward=start + PAGE_DIFF < counts[kind]
    )
    return controls.buttons(picks) + same + lines + turn


def _diff_row_html(context: Context, row: DiffRow) -> str:
    """A row that came or went with its texts; of a changed one, what differs in each field."""
    title = f"<h3>{escape(context.say('data.row', row=row.row))}</h3>"
    if row.before and row.after:
        changes = "".join(
            f'<p class="lu-note">{escape(name)}</p>'
            + view.change_html(context, view.plain_text(row.before.get(name)), view.plain_text(row.after.get(name)))
            for name in row.fields
        )
        return f'<div class="lu-line">{title}{changes}</div>'
    held = row.before or row.after or {}
    kept = "\n".join(view.plain_text(value) for value in held.values() if value is not None)
    return f'<div class="lu-line">{title}<pre class="lu-log" tabindex="0">{escape(view.short(kept, 500))}</pre></div>'


# -- elsewhere -----------------------------------------------------------------------------------------------------


def _remote_html(context: Context, chosen: DatasetSummary) -> str:
    """Send this version to a folder or object store, or fetch one from there."""
    say = context.say
    place = say("data.remote.place")
    push = controls.form(
        controls.text("remote", place, "", note=say("data.remote.place_note")),
        controls.button("push", say("data.remote.push", number=chosen.version)),
        classes="lu-bar-form",
    )
    pull = controls.form(
        controls.text("remote", place, ""),
        controls.text("pulled", say("data.remote.name"), chosen.name),
        controls.text("into", say("data.remote.into"), "", note=say("data.remote.into_note")),
        controls.button("pull", say("data.remote.pull")),
        classes="lu-bar-form",
    )
    inner = f'<p class="lu-note">{escape(say("data.remote.lead"))}</p>{push}{pull}'
    return controls.fold(say("data.remote.title"), inner, key="remote")

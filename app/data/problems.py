"""The Problems tab: rows that cannot be used, by kind, each kind with its fix; rows taken out, by reason, with the way
back."""

from html import escape
from pathlib import Path

from app import dataset_view as view
from app.context import Context
from app.data import controls, editing, following, words
from app.data.mending import mended, mended_rows
from app.data.panel import Pressed, State, Tab, Told
from app.markup import chip, notice
from studio.db.datasets import DatasetSummary
from studio.errors import RefusedInput
from studio.messages import has
from studio.workshop.problems import OPEN, Problem
from studio.workshop.versions.problem_groups import Group, find_problems, problem_groups, problem_rows
from studio.workshop.versions.reader import read_manifest

PAGE_PROBLEMS = 20


def draw(context: Context, chosen: DatasetSummary, state: State) -> str:
    """State: kind (unfolded, as `open:unknown_role`), start, edit (a row), typed, faults, said."""
    groups = problem_groups(Path(chosen.path))
    said = notice(state.get("said", ""), "info")
    open_groups = [each for each in groups if each.state == OPEN]
    out = [each for each in groups if each.state != OPEN]
    head = "" if open_groups else notice("✓ " + context.say("data.no_problems"), "good")
    if len(open_groups) > 1 or (open_groups and open_groups[0].rows > 1):
        head = controls.buttons(controls.button("exclude_all", context.say("data.problems.exclude_everything")))
    shown = "".join(_group_html(context, chosen, each, state) for each in open_groups)
    if out:
        title = escape(context.say("data.problems.taken_out", count=chosen.excluded))
        note = escape(context.say("data.problems.taken_out_note"))
        shown += f'<h2 class="lu-part">{title}</h2><p class="lu-note">{note}</p>'
        shown += "".join(_group_html(context, chosen, each, state) for each in out)
    unread = view.unread_keys(context, read_manifest(Path(chosen.path)).source.get("unread_keys", {}))
    return said + head + unread + shown


def press(context: Context, chosen: DatasetSummary, state: State, told: Told) -> Pressed:
    acts = {
        "fix_all": _fix_all,
        "exclude_kind": _exclude_kind,
        "exclude_all": _exclude_all,
        "exclude": _exclude,
        "back_kind": _bring_back,
        "back_row": _bring_back,
        "save": _save,
    }
    state = {name: value for name, value in state.items() if name not in ("said", "faults")}
    if told.do in acts:
        following.refuse_while_changing(context, chosen.name)
        return acts[told.do](context, chosen, state, told)
    match told.do:
        case "unfold":
            return Pressed({"kind": told.data.get("kind", ""), "start": 0})
        case "shut":
            return Pressed({})
        case "edit":
            return Pressed(state | {"edit": told.number("row")})
        case "back":
            return Pressed(state | {"start": max(0, state.get("start", 0) - PAGE_PROBLEMS), "edit": None})
        case "forward":
            return Pressed(state | {"start": state.get("start", 0) + PAGE_PROBLEMS, "edit": None})
    return Pressed(state | {"edit": None})


TAB = Tab("problems", draw, press)


# -- acts ----------------------------------------------------------------------------------------------------------


def _kind_of(told: Told) -> tuple[str, str]:
    state, _, code = told.data.get("kind", "").partition(":")
    return state, code


def _fix_all(context: Context, chosen: DatasetSummary, state: State, told: Told) -> Pressed:
    """Mend every row of this kind that can be; the others stay listed."""
    edits, left = mended_rows(Path(chosen.path), *_kind_of(told))
    said = context.say("data.problems.mending", count=len(edits), left=left)
    return Pressed({"said": said}, job=context.desk.revise_dataset(chosen.name, edits=edits))


def _exclude_kind(context: Context, chosen: DatasetSummary, state: State, told: Told) -> Pressed:
    rows = problem_rows(Path(chosen.path), *_kind_of(told))
    return Pressed({}, job=context.desk.revise_dataset(chosen.name, exclude=rows))


def _exclude_all(context: Context, chosen: DatasetSummary, state: State, told: Told) -> Pressed:
    """Leave out every row that cannot be used; they stay listed, and can come back."""
    folder = Path(chosen.path)
    rows = {
        row for each in problem_groups(folder) if each.state == OPEN for row in problem_rows(folder, OPEN, each.code)
    }
    return Pressed({}, job=context.desk.revise_dataset(chosen.name, exclude=sorted(rows)))


def _exclude(context: Context, chosen: DatasetSummary, state: State, told: Told) -> Pressed:
    return Pressed(state | {"edit": None}, job=context.desk.revise_dataset(chosen.name, exclude=[_row(told)]))


def _bring_back(context: Context, chosen: DatasetSummary, state: State, told: Told) -> Pressed:
    if told.do == "back_row":
        return Pressed(state, job=context.desk.restore_rows(chosen.name, rows=[_row(told)]))
    return Pressed({}, job=context.desk.restore_rows(chosen.name, code=_kind_of(told)[1]))


def _save(context: Context, chosen: DatasetSummary, state: State, told: Told) -> Pressed:
    """Check the mended text at once; only a usable row becomes a new version."""
    row, raw = _row(told), str(told.fields.get("raw", ""))
    faults = editing.faults(raw, read_manifest(Path(chosen.path)))
    if faults:
        shown = [fault.at(row, raw).message(context.language) for fault in faults]
        return Pressed(state | {"edit": row, "typed": raw, "faults": shown})
    state = {name: value for name, value in state.items() if name != "typed"}
    return Pressed(state | {"edit": None}, job=context.desk.revise_dataset(chosen.name, edits={str(row): raw}))


def _row(told: Told) -> int:
    row = told.number("row")
    if row is None:
        raise RefusedInput("data.no_row_chosen")
    return row


# -- what is shown -------------------------------------------------------------------------------------------------


def _group_html(context: Context, chosen: DatasetSummary, group: Group, state: State) -> str:
    """One kind: how many rows, an example, what to do, and its rows where unfolded."""
    say = context.say
    kind = f"{group.state}:{group.code}"
    is_open = group.state == OPEN
    count = chip(view.rows_text(context, group.rows), "warn" if is_open else "soft")
    kind_words = words.kind(context, group.code)
    title = f"<h3>{escape(kind_words[:1].upper() + kind_words[1:])} {count}</h3>"
    example = f"<p>{escape(group.first.message(context.language))}</p>"
    unfolded = state.get("kind") == kind
    label = say("data.problems.hide_rows" if unfolded else "data.problems.show_rows")
    look = controls.button("shut" if unfolded else "unfold", label, kind="link", kind_=kind)
    acts = _open_acts(context, chosen, group, kind) if is_open else _out_acts(context, group, kind)
    rows = _rows_html(context, chosen, group, state) if unfolded else ""
    return f'<section class="lu-card lu-problem">{title}{example}{acts}<p>{look}</p>{rows}</section>'


def _open_acts(context: Context, chosen: DatasetSummary, group: Group, kind: str) -> str:
    say = context.say
    fixed = mended(group.first, read_manifest(Path(chosen.path)))
    leave = controls.button("exclude_kind", say("data.problems.exclude_kind", count=group.rows), kind_=kind)
    if fixed is None:
        note = f'<p class="lu-note">{escape(say("data.problems.by_hand"))}</p>'
        by_hand = note if group.first.raw else ""  # a file or sheet that was not read has no text to edit
        return by_hand + controls.buttons(leave)
    key = f"data.fix.{group.code}"
    fix = say(key) if has(key) else say("data.fix.json")
    proposal = f'<p class="lu-note">{escape(say("data.problems.fix", fix=fix))}</p>'
    change = view.change_html(context, group.first.raw, fixed)
    every = controls.button("fix_all", say("data.problems.fix_all", count=group.rows), kind="primary", kind_=kind)
    return proposal + change + controls.buttons(every, leave)


def _out_acts(context: Context, group: Group, kind: str) -> str:
    label = context.say("data.problems.bring_back", count=group.rows)
    return controls.buttons(controls.button("back_kind", label, kind_=kind))


def _rows_html(context: Context, chosen: DatasetSummary, group: Group, state: State) -> str:
    start = state.get("start", 0)
    found = find_problems(Path(chosen.path), group.state, group.code, start=start, count=PAGE_PROBLEMS + 1)
    lines = "".join(_line_html(context, chosen, each, state) for each in found[:PAGE_PROBLEMS])
    if start == 0 and len(found) <= PAGE_PROBLEMS:
        return lines
    say = context.say
    place = say("data.rows.place", first=start + 1, last=start + len(found[:PAGE_PROBLEMS]))
    more = len(found) > PAGE_PROBLEMS
    return lines + controls.pager(say("data.back"), say("data.forward"), place, has_back=start > 0, has_forward=more)


def _line_html(context: Context, chosen: DatasetSummary, problem: Problem, state: State) -> str:
    say = context.say
    if state.get("edit") == problem.row and problem.state == OPEN:
        return _edit_html(context, chosen, problem, state)
    acts = controls.button("back_row", say("data.problems.bring_back_row"), kind="link", row=problem.row)
    if problem.state == OPEN:
        acts = controls.button("edit", say("data.rows.edit"), kind="link", row=problem.row)
        acts += controls.button("exclude", say("data.rows.exclude"), kind="link", row=problem.row)
    place = "" if problem.offset is None else escape(say("data.problems.offset", offset=problem.offset))
    return (
        f'<div class="lu-line"><p>{escape(problem.message(context.language))} <span class="lu-acts">{acts}</span></p>'
        f'<code>{escape(view.short(problem.raw))}</code> <span class="lu-note">{place}</span></div>'
    )


def _edit_html(context: Context, chosen: DatasetSummary, problem: Problem, state: State) -> str:
    """The row's source in a field, the proposed fix in it where there is one."""
    say = context.say
    proposal = mended(problem, read_manifest(Path(chosen.path)))
    typed = state.get("typed") or view.pretty(proposal or problem.raw)
    note = say("data.problems.proposed" if proposal else "data.mend_note")
    told = "".join(notice(line, "warn") for line in state.get("faults", [])) or notice(
        problem.message(context.language), "warn"
    )
    field = controls.area("raw", say("data.mend_raw"), typed, rows=8, note=note, draft=f"mend.{problem.row}")
    save = controls.button("save", say("data.save_fix"), kind="primary", row=problem.row)
    leave = controls.button("exclude", say("data.rows.exclude"), row=problem.row, settles=True)
    drop = controls.button("cancel", say("data.rows.cancel"), settles=True)
    return '<div class="lu-line lu-edit">' + controls.form(told, field, controls.buttons(save, leave, drop)) + "</div>"

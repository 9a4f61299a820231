"""What a round came to: agreement, who marked how much, the ratings; a version made of it; marks as files."""

from collections import Counter, defaultdict
from html import escape
from statistics import median
from typing import Any

import msgspec

from app.context import Context
from app.data import controls, label_pairs
from app.data.exports import fetchable
from app.data.label_marking import rating_words
from app.data.label_rounds import form
from app.data.panel import Pressed, State, Told
from app.i18n import bytes_text, duration_text, path_text
from app.markup import notice, table
from studio.db import label_results
from studio.db.datasets import DatasetSummary
from studio.db.label_results import MarkView
from studio.db.labels import RoundView
from studio.errors import RefusedInput
from studio.protocol import write_atomically
from studio.workshop.labelling.agreement import Agreement, agreement, pairs
from studio.workshop.labelling.mark_files import CSV, JSONL, marks_in, write_marks
from studio.workshop.labelling.marks import GOOD_BAD, STARS, Filter, counts

USUAL_LEAST = 3
FORMATS = (JSONL, CSV)
_TONES = {"reliable": "good", "tentative": "warn", "low": "bad", "few": "info", "unknown": "info"}
_LABEL, _DROP, _KEEP = "label:", "drop:", "keep:"


def results_html(context: Context, chosen: DatasetSummary, current: RoundView, state: State) -> str:
    with context.registry.session() as session:
        said = label_results.marks(session, current.id)
    valid = [each for each in said if each.counts and not each.is_decision]
    if not said:
        alone = notice(context.say("data.labelling.no_marks"))
        return alone + _files_html(context, current, state, has_marks=False) + _close_html(context, current)
    return (
        _agreement_html(context, current, valid)
        + _annotators_html(context, valid)
        + _ratings_html(context, current, said)
        + _filter_html(context, current, state)
        + label_pairs.pairs_html(context, current, said)
        + _files_html(context, current, state, has_marks=True)
        + _close_html(context, current)
    )


# -- what is pressed -------------------------------------------------------------------------------------------------


def refilter(context: Context, current: RoundView, state: State, told: Told) -> Pressed:
    return Pressed(state | {"filter": msgspec.to_builtins(filter_in(current, told))})


def apply(context: Context, current: RoundView, state: State, told: Told) -> Pressed:
    """Make the version that the form describes."""
    chosen = filter_in(current, told)
    job = context.desk.labelling.apply(current.id, chosen)
    return Pressed(state | {"filter": msgspec.to_builtins(chosen)}, job=job)


def export(context: Context, current: RoundView, state: State, told: Told) -> Pressed:
    format = CSV if told.data.get("format") == CSV else JSONL
    with context.registry.session() as session:
        said = label_results.marks(session, current.id)
    place = _file(context, current, format)
    place.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(place, write_marks(said, format).encode())
    return Pressed(state)


def take_in(context: Context, current: RoundView, state: State, told: Told) -> Pressed:
    """Marks from a file: all of them, or none and the line at fault."""
    sent = told.file("marks")
    if sent is None:
        raise RefusedInput("data.no_file_chosen")
    name, text = sent
    count = context.desk.labelling.take_marks(current.id, marks_in(text, name))
    return Pressed(state | {"taken": {"file": name, "count": count}})


def close(context: Context, current: RoundView, state: State, told: Told) -> Pressed:
    context.desk.labelling.close_round(current.id, is_closed=told.do == "close")
    return Pressed(state)


ACTS = {
    "filter": refilter,
    "apply": apply,
    "export": export,
    "import": take_in,
    "close": close,
    "reopen": close,
    "pairs": label_pairs.make,
}


def filter_in(current: RoundView, told: Told) -> Filter:
    """What the form says of which rows stay."""
    least = told.text("least_rating")
    ticked = [name for name, value in told.fields.items() if value is True]

    def named(prefix: str) -> tuple[str, ...]:
        return tuple(name.removeprefix(prefix) for name in ticked if name.startswith(prefix))

    labels = named(_LABEL)
    return Filter(
        least_rating=int(least) if least.isascii() and least.isdecimal() else 1 if "drop_bad" in ticked else None,
        labels=() if set(labels) >= set(current.scale.values) else labels,
        drop_tags=named(_DROP),
        keep_tags=named(_KEEP),
        drop_unmarked="drop_unmarked" in ticked,
        use_corrections="use_corrections" in ticked,
    )


# -- what is shown ---------------------------------------------------------------------------------------------------


def _agreement_html(context: Context, current: RoundView, valid: list[MarkView]) -> str:
    """The figure with its sentence, and between which annotators it is low."""
    say = context.say
    marks: dict[int, dict[str, str]] = defaultdict(dict)
    for each in valid:
        if each.rating is not None:
            marks[each.row][each.annotator] = each.rating
    title = f'<h2 class="lu-part">{escape(say("data.labelling.agreement"))}</h2>'
    found = agreement(marks, order=current.scale.order)
    if not found.rows:
        return title + notice(say("data.labelling.agreement_alone"))
    words = say(f"data.labelling.level.{found.level}")
    figures = say(
        "data.labelling.agreement_figures",
        measure=say(f"data.labelling.measure.{found.measure}"),
        value=_figure(found),
        same=f"{100 * found.same:.0f}",
        rows=found.rows,
    )
    shown = title + notice(words, _TONES[found.level]) + f'<p class="lu-num">{escape(figures)}</p>'
    if found.annotators < 3:
        return shown
    heads = [say(f"data.labelling.pair.{name}") for name in ("who", "value", "same", "rows")]
    lines = [
        [escape(f"{one} – {other}"), _figure(each), f"{100 * each.same:.0f} %", f"{each.rows:,}"]
        for one, other, each in pairs(marks, order=current.scale.order)
    ]
    return shown + table(heads, lines, caption=say("data.labelling.pairs"))


def _figure(found: Agreement) -> str:
    return "–" if found.value is None else f"{found.value:.2f}"


def _annotators_html(context: Context, valid: list[MarkView]) -> str:
    say = context.say
    by_name: dict[str, list[MarkView]] = defaultdict(list)
    for each in valid:
        by_name[each.annotator].append(each)
    heads = [say(f"data.labelling.annotator.{name}") for name in ("name", "rows", "corrected", "flagged", "time")]
    lines = []
    for name, marks in sorted(by_name.items()):
        seconds = [each.seconds for each in marks if each.seconds is not None]
        corrected, flagged = (
            sum(each.correction is not None for each in marks),
            sum(each.is_flagged for each in marks),
        )
        time = duration_text(median(seconds), context.language) if seconds else "–"
        lines.append([escape(name), f"{len(marks):,}", f"{corrected:,}", f"{flagged:,}", escape(time)])
    return table(heads, lines, caption=say("data.labelling.annotators"))


def _ratings_html(context: Context, current: RoundView, said: list[MarkView]) -> str:
    """How many rows came out at each rating, and the tags they have."""
    say = context.say
    settled = label_results.results(current.scale, said)
    found = counts(current.scale, settled)
    most = max(found.values(), default=0) or 1
    lines = [
        [
            escape(rating_words(context, current.scale, value)),
            f'<span class="lu-label-bar"><i style="width:{100 * count / most:.0f}%"></i></span>{count:,}',
        ]
        for value, count in found.items()
    ]
    shown = table(
        [say("data.labelling.rating"), say("data.labelling.rows")], lines, caption=say("data.labelling.ratings")
    )
    tags = Counter(tag for each in settled.values() for tag in each.tags)
    if not tags:
        return shown
    lines = [[escape(tag), f"{count:,}"] for tag, count in tags.most_common()]
    return shown + table([say("data.labelling.tag"), say("data.labelling.rows")], lines)


def _filter_html(context: Context, current: RoundView, state: State) -> str:
    """Which rows stay, what that would do, and the button that does it."""
    say = context.say
    usual = {"least_rating": USUAL_LEAST if current.scale.kind == STARS else 1}
    chosen = msgspec.convert(state.get("filter", usual), Filter)
    outcome = context.desk.labelling.outcome(current.id, chosen)
    fields = _by_rating(context, current, chosen) + _by_tag(context, current, chosen)
    fields += "".join(
        controls.checkbox(name, say(f"data.labelling.{name}"), getattr(chosen, name), change="filter")
        for name in ("use_corrections", "drop_unmarked")
    )
    would = [say("data.labelling.would", out=len(outcome["left_out"]), corrected=len(outcome["corrections"]))]
    if chosen.drop_unmarked:
        would.append(say("data.labelling.would_drop_unmarked"))
    if outcome["disputed"]:
        would.append(say("data.labelling.would_wait", count=len(outcome["disputed"])))
    is_idle = not (outcome["left_out"] or outcome["corrections"] or chosen.drop_unmarked)
    make = controls.button(
        "apply",
        say("data.labelling.apply"),
        kind="primary",
        why_not=say("data.labelling.nothing_yet") if is_idle else "",
    )
    note = f'<p class="lu-note">{escape(say("data.labelling.use_note"))}</p>'
    parts = (fields, "".join(f"<p>{escape(line)}</p>" for line in would), controls.buttons(make), note)
    title = f'<h2 class="lu-part">{escape(say("data.labelling.use"))}</h2>'
    return title + form(*parts, fresh=f"filter-{current.id}", round=current.id)


def _by_rating(context: Context, current: RoundView, chosen: Filter) -> str:
    say, scale = context.say, current.scale
    if scale.kind == STARS:
        choices = [(say("data.labelling.any_rating"), "")]
        choices += [(rating_words(context, scale, value), value) for value in scale.values[1:]]
        least = str(chosen.least_rating or "")
        return controls.select("least_rating", say("data.labelling.least_rating"), choices, least, change="filter")
    if scale.kind == GOOD_BAD:
        is_dropped = chosen.least_rating is not None
        return controls.checkbox("drop_bad", say("data.labelling.drop_bad"), is_dropped, change="filter")
    kept = chosen.labels or scale.values
    return _ticks(say("data.labelling.keep_labels"), [(_LABEL + value, value, value in kept) for value in scale.values])


def _by_tag(context: Context, current: RoundView, chosen: Filter) -> str:
    say = context.say
    groups: list[tuple[str, str, Any]] = [
        (_DROP, "data.labelling.drop_tags", chosen.drop_tags),
        (_KEEP, "data.labelling.keep_tags", chosen.keep_tags),
    ]
    return "".join(
        _ticks(say(key), [(prefix + tag, tag, tag in ticked) for tag in current.tags])
        for prefix, key, ticked in groups
        if current.tags
    )


def _ticks(label: str, boxes: list[tuple[str, str, bool]]) -> str:
    made = "".join(controls.checkbox(name, words, is_on, change="filter") for name, words, is_on in boxes)
    return controls.labelled_group(label, f'<div class="lu-label-tags">{made}</div>')


def _files_html(context: Context, current: RoundView, state: State, *, has_marks: bool) -> str:
    """A button a format, and the files made so far, each with its link; and one that takes marks in."""
    say = context.say
    made = "".join(
        controls.button("export", say("data.labelling.export", format=each.upper()), format=each, round=current.id)
        for each in FORMATS
        if has_marks
    )
    kinds = (".jsonl", ".json", ".csv")
    made += controls.upload("marks", say("data.labelling.import"), do="import", kinds=kinds)
    told = notice(say("data.labelling.taken", **state["taken"]), "good") if state.get("taken") else ""
    note = f'<p class="lu-note">{escape(say("data.labelling.import_note"))}</p>'
    files = ""
    for each in FORMATS:
        path = _file(context, current, each)
        if path.exists():
            address = f"/{context.language}/gradio_api/file={fetchable(context.desk.workspace, path)}"
            link = f'<a href="{escape(address)}" download="{escape(path.name)}">{escape(path.name)}</a>'
            where = escape(f"{bytes_text(path.stat().st_size)} · {path_text(path)}")
            files += f'<li>{link} <span class="lu-note">{where}</span></li>'
    title = f'<h2 class="lu-part">{escape(say("data.labelling.marks"))}</h2>'
    buttons = form(controls.buttons(made), fresh=f"files-{current.id}", round=current.id)
    return title + told + buttons + note + (f"<ul>{files}</ul>" if files else "")


def _file(context: Context, current: RoundView, format: str) -> Any:
    return context.desk.workspace.exports / f"{current.dataset}-marks-{current.id}.{format}"


def _close_html(context: Context, current: RoundView) -> str:
    do = "reopen" if current.is_closed else "close"
    note = f'<span class="lu-note">{escape(context.say(f"data.labelling.{do}_note"))}</span>'
    return controls.buttons(controls.button(do, context.say(f"data.labelling.{do}"), round=current.id)) + note

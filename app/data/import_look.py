"""What a look at an upload finds, and how it is shown: the file's kind, its shape and why, each column's part, faults.

    look_at(context, Path("faq.csv"), {})                   ->  Look(Preview(pairs, 96 %), sample, refusal="")
    look_at(context, Path("faq.csv"), {"shape": "chat"})    ->  as chosen, or `refusal` says why that cannot be

The file is opened and its first megabyte read once, so the answer comes at once whatever the file's size.
"""

import json
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

from app import dataset_view as view
from app.context import Context
from app.data import controls
from app.markup import notice
from studio.errors import StudioError
from studio.messages import has
from studio.workshop.converting.detect import Preview, Sample, preview_of, read_sample
from studio.workshop.converting.shapes import OPTIONAL_PARTS, REQUIRED_PARTS, SHAPES

PREVIEW_ROWS = 5
LEAST_LIKE = 0.5
"""A smaller share of rows of a shape is no recognition."""
SHOWN_CELLS, CELL_CHARACTERS = 3, 80
SHOWN_AGAINST = 3
ENCODINGS = (
    *("utf-8", "gb18030", "big5", "shift_jis", "euc-jp", "euc-kr", "cp1252", "cp1250", "cp1251", "cp1253", "cp1254"),
    *("cp1255", "cp1256"),
)
SURE_ENCODING = 0.7
"""Of what was found out with less confidence a person can say what it is."""


@dataclass(frozen=True)
class Look:
    """What a look at a file found."""

    seen: Preview
    """As it was recognised, or as the person chose where that can be."""
    sample: Sample
    refusal: str = ""
    """Why the person's choice cannot be."""

    @property
    def is_sure(self) -> bool:
        """Whether there is no doubt about the encoding."""
        return self.sample.confidence >= SURE_ENCODING and not self.sample.is_named


def look_at(context: Context, path: Path, asked: dict[str, Any]) -> Look:
    """The first rows of a file, by the person's choice where it can be: shape, columns, encoding.

    Raises:
        StudioError: the file itself cannot be read.
    """
    try:
        sample = read_sample(path, original_name=path.name, encoding=asked.get("encoding") or None)
    except StudioError as error:
        if not asked:
            raise
        return replace(look_at(context, path, {}), refusal=error.message(context.language))
    try:
        told = {"shape": asked.get("shape") or None, "columns": asked.get("columns") or None}
        seen = preview_of(sample, limit=PREVIEW_ROWS, **told)
    except StudioError as error:
        if not asked:
            raise
        return Look(preview_of(sample, limit=PREVIEW_ROWS), sample, refusal=error.message(context.language))
    return Look(seen, sample, refusal=_missing(context, seen))


def _missing(context: Context, seen: Preview) -> str:
    """That a shape was chosen whose columns the file does not name; empty where it has them."""
    if seen.choice is None:
        return ""
    found = {part for column, part in seen.choice.columns.items() if column in seen.all_columns}
    shape = seen.choice.shape
    parts = [_part_name(context, part, "") for part in REQUIRED_PARTS[shape] if part not in found]
    comma = context.say("common.list_comma")
    return context.say("data.parts_missing", parts=comma.join(parts)) if parts else ""


# -- what a look is shown as -------------------------------------------------------------------------------------


def reading_html(context: Context, found: Look, wanted: dict[str, Any]) -> str:
    """What the file is, what its rows are taken for, the columns with their parts, and what is at fault."""
    say, seen = context.say, found.seen
    which = "all" if seen.is_whole else "first"
    about = say(f"data.looked_at.{which}", count=seen.sampled, size=view.bytes_text(seen.size_bytes))
    kind = say(
        "data.file_kind", kind=_kind_name(context, seen.kind), encoding=found.sample.encoding.upper().replace("_", "-")
    )
    choices = [(say(f"data.shape.{shape}"), shape) for shape in SHAPES]
    shape = wanted.get("shape", "")
    if not shape:
        choices.insert(0, (say("data.choose_shape"), ""))
    return controls.form(
        f'<p class="lu-note">{escape(seen.file)} · {escape(kind)} · {escape(about)}</p>',
        "" if found.is_sure else _encoding_html(context, wanted),
        notice(found.refusal, "warn") if found.refusal else _recognised(context, found),
        controls.select("shape", say("data.shape_label"), choices, shape, change="shape"),
        _columns_html(context, found, wanted),
        view.preview_faults(context, seen) if not found.refusal else "",
        view.unread_keys(context, seen.unread_keys),
    )


def _encoding_html(context: Context, wanted: dict[str, Any]) -> str:
    """What the file's encoding is taken for, and what else it may be."""
    say, chosen = context.say, wanted.get("encoding", "")
    choices = [(say("data.encoding.found"), ""), *((name.upper(), name) for name in ENCODINGS)]
    return controls.select(
        "encoding", say("data.encoding.label"), choices, chosen, note=say("data.encoding.note"), change="encoding"
    )


def _kind_name(context: Context, kind: str) -> str:
    return {"jsonl": "JSON Lines", "text": context.say("data.kind_text")}.get(kind, kind.upper())


def _recognised(context: Context, found: Look) -> str:
    """The shape with its confidence, what it becomes, and the rows that look otherwise."""
    say, seen = context.say, found.seen
    if seen.choice is None:
        return notice(say("data.shape_unknown", columns=", ".join(seen.all_columns) or "–"), "warn")
    shape = say(f"data.shape.{seen.choice.shape}")
    percent = f"{100 * seen.choice.confidence:.0f}"
    told = "data.shape_found" if seen.choice.confidence >= LEAST_LIKE else "data.shape_closest"
    words = [say(told, shape=shape, percent=percent), say(f"data.becomes.{seen.format}", shape=shape)]
    words += [say(note)] if has(note := f"data.shape_note.{seen.choice.shape}") else []
    return notice("\n".join([*words, *_against(context, found)]), "good" if seen.choice.confidence >= 0.9 else "warn")


def _against(context: Context, found: Look) -> list[str]:
    """Counter-examples: rows that show another shape, with what they hold instead."""
    say, numbers = context.say, found.seen.choice.against if found.seen.choice else []
    rows = {each.row: each.value for each in found.sample.rows if each.row in numbers[:SHOWN_AGAINST]}
    lines = [
        say("data.against.row", row=number, columns=", ".join(map(str, value)) or "–")
        if isinstance(value, dict)
        else say("data.against.other", row=number)
        for number, value in rows.items()
    ]
    more = len(numbers) - len(lines)
    return [*lines, say("data.against.more", count=more)] if more > 0 else lines


def _columns_html(context: Context, found: Look, wanted: dict[str, Any]) -> str:
    """The file's columns as a table: on top of each, the part that it plays; below, its first cells."""
    say, seen = context.say, found.seen
    shape = wanted.get("shape") or ""
    if not seen.all_columns or not shape:
        return ""
    offered = (*REQUIRED_PARTS[shape], *OPTIONAL_PARTS[shape])
    played = wanted.get("columns") or {}
    choices = [(say("data.no_part"), ""), *((_part_name(context, part, shape), part) for part in offered)]
    heads, roles = "", ""
    for place, column in enumerate(seen.all_columns):
        label = say("data.part_of", column=column)
        heads += f'<th scope="col">{escape(column)}</th>'
        part = controls.select(
            f"column.{place}", label, choices, played.get(column, ""), change="columns", hides_label=True
        )
        roles += f"<td>{part}</td>"
    values = [each.value for each in found.sample.rows if isinstance(each.value, dict)][:SHOWN_CELLS]
    cells = "".join(
        "<tr>" + "".join(f"<td>{_cell(value, column)}</td>" for column in seen.all_columns) + "</tr>"
        for value in values
    )
    return (
        f'<p class="lu-note">{escape(say("data.parts_note"))}</p>'
        '<div class="lu-scroll"><table class="lu-table lu-columns">'
        f"<thead><tr>{heads}</tr></thead><tbody><tr>{roles}</tr>{cells}</tbody></table></div>"
    )


def _part_name(context: Context, part: str, shape: str) -> str:
    needed = " *" if part in REQUIRED_PARTS.get(shape, ()) else ""
    return context.say(f"data.part.{part}") + needed


def _cell(value: dict[str, Any], column: str) -> str:
    if column not in value:
        return ""
    held = value[column]
    text = held if isinstance(held, str) else json.dumps(held, ensure_ascii=False, default=str)
    return escape(text if len(text) <= CELL_CHARACTERS else text[: CELL_CHARACTERS - 1] + "…")

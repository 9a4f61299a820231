"""A new round of labelling: its name, what a rating may be, which rows, how many people, and the guide they read."""

from html import escape
from typing import Any

from app.context import Context
from app.data import controls
from app.data.panel import Told
from app.markup import heading
from studio.db.datasets import DatasetSummary
from studio.db.labels import RoundView
from studio.labelling import MAX_ANNOTATORS, MAX_ROUND_ROWS
from studio.workshop.labelling.label_rows import SAMPLINGS, usual_sample
from studio.workshop.labelling.marks import KINDS, STARS, scale_of

GUIDE_ROWS = 9


def new_html(context: Context, chosen: DatasetSummary, rounds: list[RoundView]) -> str:
    """The form of a new round, filled in so that one press starts it; the guide is the last round's."""
    say = context.say
    teach = "" if rounds else f'<div class="lu-empty"><p>{escape(say("data.labelling.teach"))}</p></div>'
    usual, usual_count = usual_sample(chosen.rows)
    scales = [(say(f"data.labelling.scale.{kind}"), kind) for kind in KINDS]
    ways = [(say(f"data.labelling.by.{way}"), way) for way in SAMPLINGS]
    guide = rounds[0].guide if rounds else say("data.labelling.first_guide")
    tags = ", ".join(rounds[0].tags) if rounds else ""
    name = say("data.labelling.round_number", number=len(rounds) + 1)
    fields = (
        _side(
            controls.text("name", say("data.labelling.name"), name),
            controls.select("scale", say("data.labelling.scale_label"), scales, STARS),
            controls.text(
                "labels",
                say("data.labelling.labels"),
                note=say("data.labelling.labels_note"),
                placeholder=say("data.labelling.labels_example"),
            ),
            controls.select("by", say("data.labelling.by_label"), ways, usual),
            controls.number(
                "count",
                say("data.labelling.count"),
                usual_count,
                least=1,
                most=MAX_ROUND_ROWS,
                step="1",
            ),
            controls.number(
                "num_annotators",
                say("data.labelling.num_annotators"),
                1,
                least=1,
                most=MAX_ANNOTATORS,
                step="1",
                note=say("data.labelling.num_annotators_note"),
            ),
        ),
        _side(
            controls.area(
                "guide",
                say("data.labelling.guide"),
                guide,
                rows=GUIDE_ROWS,
                note=say("data.labelling.guide_note"),
                draft="guide-new",
            ),
            controls.text("tags", say("data.labelling.tags"), tags, note=say("data.labelling.tags_note")),
        ),
    )
    cancel = controls.button("cancel", say("data.labelling.cancel"), settles=True) if rounds else ""
    start = controls.button("create", say("data.labelling.start"), kind="primary", settles=True)
    title = heading(say("data.labelling.new")).replace("h1", "h2").replace("lu-title", "lu-part")
    columns = f'<div class="lu-label-new">{"".join(fields)}</div>'
    return teach + title + form(columns, controls.buttons(start, cancel), fresh=f"new-{len(rounds)}")


def create(context: Context, chosen: DatasetSummary, told: Told) -> int:
    """Start the round that the form asks for; returns its number."""
    return context.desk.labelling.start_round(
        chosen.name,
        told.text("name"),
        scale=scale_of(told.text("scale"), words_in(told.text("labels"))),
        guide=told.text("guide"),
        tags=words_in(told.text("tags")),
        num_annotators=_whole(told.text("num_annotators")),
        by=told.text("by"),
        count=min(_whole(told.text("count")), max(1, chosen.rows)),
    )


def words_in(text: str) -> list[str]:
    """`"a, b，c、d"` -> `["a", "b", "c", "d"]`: commas of both languages."""
    for mark in "，、;；\n":
        text = text.replace(mark, ",")
    return [word.strip() for word in text.split(",") if word.strip()]


def form(*parts: str, fresh: str, classes: str = "lu-form", **data: Any) -> str:
    """Fields whose buttons send `data` along; with another `fresh` than before the fields start anew."""
    sent = "".join(f' data-{name}="{escape(str(value))}"' for name, value in data.items())
    return f'<div data-form data-fresh="{escape(fresh)}"{sent} class="{classes}">{"".join(parts)}</div>'


def _side(*fields: str) -> str:
    return f"<div>{''.join(fields)}</div>"


def _whole(text: str) -> int:
    """A whole number, or 0, which is refused with a sentence."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0

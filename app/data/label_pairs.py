"""Preference pairs from a round in which several answers to one question were rated."""

from html import escape

from app.context import Context
from app.data import controls
from app.data.label_rounds import form
from app.data.panel import Pressed, State, Told
from app.markup import notice
from studio.db.label_results import MarkView
from studio.db.labels import RoundView
from studio.desk_rewards import agreement_of
from studio.workshop.labelling.marks import GOOD_BAD, STARS


def make(context: Context, current: RoundView, state: State, told: Told) -> Pressed:
    return Pressed(state, job=context.desk.pairs_of_ratings(current.id, told.text("into")))


def pairs_html(context: Context, current: RoundView, said: list[MarkView]) -> str:
    """The button, and where annotators agree little a warning: such pairs teach noise. Nothing for plain labels."""
    if current.scale.kind not in (STARS, GOOD_BAD):
        return ""
    say, found = context.say, agreement_of(current.scale, said)
    warning = notice(say("data.pairs.low"), "bad") if found.level == "low" else ""
    if not found.rows:
        warning = notice(say("data.pairs.alone"))
    name = controls.text("into", say("data.pairs.into"), f"{current.dataset}-pairs"[:64])
    button = controls.buttons(controls.button("pairs", say("data.pairs.make"), round=current.id))
    note = f'<p class="lu-note">{escape(say("data.pairs.note"))}</p>'
    made = form(name, button, fresh=f"pairs-{current.id}", round=current.id)
    return controls.fold(say("data.pairs.title"), warning + note + made, key=f"pairs-{current.id}")

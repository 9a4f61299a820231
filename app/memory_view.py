"""HTML of a run's memory: a bar against the whole card, its parts in plain words, and what there is to do.

The bar's parts are the predicted peak; the bracket below them is what the driver may show, from - to.
"""

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from app.context import Context
from app.forms import short_label, value_text
from app.i18n import bytes_text
from app.markup import chip
from app.probe_view import learned_html, probe_html
from studio.db.jobs import JobView
from studio.hardware import Machine
from studio.params.table import Parameter

if TYPE_CHECKING:
    from app.fitting import Remedy
    from app.training_form import Plan
    from studio.memory.estimate import Estimate
    from studio.memory.knobs import Term

_TONES = {"fits": "good", "tight": "warn", "too_large": "bad"}
_ICONS = {"fits": "✓", "tight": "▲", "too_large": "✕"}
_COLOURED = ("weights", "optimizer", "activations", "gradients", "loss", "layer", "adapter")
BUSY_BYTES = 1 << 30
"""What others may hold of a GPU without a word: a desktop takes some hundred megabytes."""


def memory_html(
    context: Context,
    plan: "Plan",
    *,
    remedy: "Remedy | None" = None,
    probe: JobView | None = None,
    given_back: Mapping[str, Any],
    table: Mapping[str, Parameter],
) -> str:
    """The verdict, the bar, its parts, and below them what helps or what was changed so that it fits.

    Args:
        remedy: what could be done where it does not fit or is tight.
        probe: the newest measurement of this model with this data.
        given_back: what a person had set before it was made to fit.
    """
    found = plan.forecast.memory
    needed = escape(needed_text(context, found))
    return (
        f'<p>{verdict_chip(context, found.verdict)} <span class="lu-num">{needed}</span></p>'
        + _given_back(context, plan, given_back, table)
        + _remedy(context, remedy, table)
        + bar_html(context, found, plan.facts.machine)
        + learned_html(context, found)
        + probe_html(context, plan, probe)
        + _parts(context, plan, table)
        + "".join(
            f'<p class="lu-note">{escape(text)}</p>' for text in machine_notes(context, found, plan.facts.machine)
        )
    )


def verdict_chip(context: Context, verdict: str) -> str:
    text = f"{_ICONS.get(verdict, '')} {context.say(f'train.verdict.{verdict}')}".strip()
    return chip(text, _TONES.get(verdict, "soft"))


def needed_text(context: Context, found: "Estimate") -> str:
    """`About 2.1 GiB of the 11.4 GiB that are free`."""
    if found.available_bytes < found.allocated_bytes <= (found.limit_bytes or 0):
        return context.say(
            f"train.memory.more_than_free_{found.device}",
            needed=bytes_text(found.allocated_bytes),
            free=bytes_text(found.available_bytes),
            limit=bytes_text(found.limit_bytes),
        )
    return context.say(
        f"train.plan.memory_{found.device}",
        needed=bytes_text(found.allocated_bytes),
        budget=bytes_text(found.available_bytes),
    )


def bar_html(context: Context, found: "Estimate", machine: Machine) -> str:
    """The parts against the whole card (or main memory); what goes beyond it lies right of the mark."""
    whole_card = machine.gpu.total_bytes if machine.gpu else machine.ram_bytes
    low, high = found.device_bytes
    whole = max(whole_card, found.allocated_bytes, low, 1)
    pieces = "".join(
        f'<i class="lu-part-{_colour(name)}" style="width:{_share(size, whole)}"></i>'
        for name, size in _parts_of(found)
    )
    usable = min(found.available_bytes or whole_card, whole)
    mark = f'<b style="left:{_share(usable, whole)}"></b>'
    end = bytes_text(whole_card) + (f" · {machine.gpu.name}" if machine.gpu else "")
    # Text left of the place that it names does not run out of the bar.
    at = f'style="right:{_share(whole - whole_card, whole)}"'
    return (
        f'<div class="lu-memory" role="img" aria-label="{escape(needed_text(context, found))}">{pieces}{mark}</div>'
        f'<div class="lu-memory-band" aria-hidden="true">{_bracket(low, high, whole, whole_card)}</div>'
        f'<div class="lu-memory-scale lu-num"><span>0</span><span {at}>{escape(end)}</span></div>'
        + _band_note(context, found, whole_card)
    )


def _bracket(low: int, high: int, whole: int, whole_card: int) -> str:
    """Below the bar, from - to; nothing where all of it would lie beyond the card."""
    if low > whole_card:
        return ""
    return f'<i style="left:{_share(low, whole)};width:{_share(min(high, whole_card) - low, whole)}"></i>'


def _band_note(context: Context, found: "Estimate", whole_card: int) -> str:
    low, high = found.device_bytes
    if low > whole_card:
        return ""
    key = "band_cpu" if found.device == "cpu" else "band" if high <= whole_card else "band_whole"
    told = context.say(f"train.memory.{key}", low=bytes_text(low), high=bytes_text(high))
    return f'<p class="lu-note lu-num"><i class="lu-memory-bracket"></i> {escape(told)}</p>'


def machine_notes(context: Context, found: "Estimate", machine: Machine) -> list[str]:
    """What a person must know of this machine to read the bar: no GPU, several, or one that is in use."""
    gpu = machine.gpu
    if gpu is None:
        return [context.say("train.memory.no_gpu")]
    notes = []
    if len(machine.gpus) > 1:
        notes.append(context.say("train.memory.several", count=len(machine.gpus), name=gpu.name))
    held = gpu.total_bytes - gpu.free_bytes
    if held > BUSY_BYTES:
        enough = "enough" if found.device_bytes[1] <= gpu.free_bytes else "not_enough"
        values = {"held": bytes_text(held), "free": bytes_text(gpu.free_bytes)}
        notes.append(f"{context.say('train.memory.busy', **values)} {context.say(f'train.memory.busy_{enough}')}")
    return notes


def _parts(context: Context, plan: "Plan", table: Mapping[str, Parameter]) -> str:
    """All parts from large to small; the three largest say which setting makes them smaller."""
    found = plan.forecast.memory
    knobs = {term.name: term for term in _largest(plan)}
    rows = "".join(
        f'<li><i class="lu-part-{_colour(name)}"></i>'
        f"<span>{escape(_term(context, name))}{_knob(context, knobs.get(name), table)}</span>"
        f'<span class="lu-num">{bytes_text(size)}</span></li>'
        for name, size in _parts_of(found)
    )
    when = context.say("train.plan.peak", phase=context.say(f"memory.phases.{found.peak_phase}"))
    # Always open: a redrawn fold would shut itself.
    return f'<div class="lu-memory-parts"><p class="lu-note">{escape(when)}</p><ul>{rows}</ul></div>'


def _largest(plan: "Plan") -> tuple["Term", ...]:
    from studio.memory.knobs import largest_terms

    facts = plan.facts
    return largest_terms(
        facts.inventory,
        plan.values,
        plan.forecast.memory,
        shapes=facts.shapes,
        machine=facts.machine,
        experience=facts.experience,
    )


def _knob(context: Context, term: "Term | None", table: Mapping[str, Parameter]) -> str:
    if term is None or term.name == "process":
        return ""
    if term.knob is None:
        text = context.say("train.memory.no_knob")
    else:
        text = context.say("train.memory.knob", setting=short_label(table[term.knob], context.language))
    return f'<small class="lu-memory-knob">{escape(text)}</small>'


def _remedy(context: Context, found: "Remedy | None", table: Mapping[str, Parameter]) -> str:
    if found is None:
        return ""
    if found.plan is None:
        return _nothing_helps(context, found)
    changes = _changes(context, found.plan, found.given_back, table, "train.memory.would")
    button = (
        f'<button type="button" class="lu-fit" data-do="fit">{escape(context.say("train.memory.make_fit"))}</button>'
    )
    becomes = f"{needed_text(context, found.plan.forecast.memory)}"
    return (
        f'<div class="lu-memory-remedy">{button}<ul>{changes}</ul>'
        f'<p class="lu-note">{escape(context.say("train.memory.becomes", text=becomes))}</p></div>'
    )


def _nothing_helps(context: Context, found: "Remedy") -> str:
    smallest = found.smallest
    if smallest.is_possible:
        text = context.say("train.memory.tight_at_best")
    else:
        needed, lack = bytes_text(smallest.estimate.allocated_bytes), bytes_text(smallest.excess_bytes)
        text = context.say("train.memory.nothing_fits", needed=needed, lack=lack)
    return f'<p class="lu-memory-remedy">{escape(text)}</p>'


def _given_back(context: Context, plan: "Plan", given_back: Mapping[str, Any], table: Mapping[str, Parameter]) -> str:
    if not given_back:
        return ""
    changes = _changes(context, plan, given_back, table, "train.memory.was")
    title, undo = escape(context.say("train.memory.made_fit")), escape(context.say("train.memory.take_back"))
    button = f'<button type="button" class="lu-link" data-do="unfit">{undo}</button>'
    return f'<div class="lu-memory-remedy"><p>{title} {button}</p><ul>{changes}</ul></div>'


def _changes(
    context: Context, plan: "Plan", before: Mapping[str, Any], table: Mapping[str, Parameter], key: str
) -> str:
    return "".join(
        f"<li>{escape(_change(context, plan, table[name], value, key))}</li>" for name, value in before.items()
    )


def _change(context: Context, plan: "Plan", parameter: Parameter, before: Any, key: str) -> str:
    now = plan.values.get(parameter.name, parameter.default)
    return context.say(
        key,
        setting=short_label(parameter, context.language),
        before=value_text(parameter, before, context),
        after=value_text(parameter, now, context),
    )


def _parts_of(found: "Estimate") -> list[tuple[str, int]]:
    return sorted(found.terms.items(), key=lambda part: -part[1])


def _colour(name: str) -> int:
    """A part keeps its colour while the form changes; small ones are grey."""
    return _COLOURED.index(name) if name in _COLOURED else len(_COLOURED)


def _term(context: Context, name: str) -> str:
    return context.say(f"memory.terms.{name}")


def _share(size: int, whole: int) -> str:
    return f"{100 * max(0, size) / whole:.2f}%"

"""Make it fit: which of a person's settings must be given back to the advisor so that a run fits its machine.

rows at once 64 (theirs), checkpointing off (theirs), 24 GiB card  ->  give back rows at once; the rest may stay
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from app.training_form import Form, Plan, Seen, ask
from studio.errors import SpecRefused

if TYPE_CHECKING:
    from studio.memory.fit import Fit

LOOSENED = (
    ("per_device_train_batch_size", "gradient_accumulation_steps", "per_device_eval_batch_size"),
    ("gradient_checkpointing", "optim", "attn_implementation"),
    ("dtype", "mixed_precision"),
    ("tuning",),
    ("max_length", "packing"),
)
"""In this order a person's settings are given back: what costs no quality first, whole rows last."""
_RANKS = ("fits", "unknown", "cut", "tight", "too_large")


@dataclass(frozen=True)
class Remedy:
    """What there is to do about a run that does not fit, only just, or only with rows cut."""

    given_back: Mapping[str, Any] = field(default_factory=dict)
    """{name: value that the person had set}; empty where giving back helps nothing."""
    plan: Plan | None = None
    """What comes of it."""
    smallest: "Fit | None" = None
    """Where nothing helps: the smallest settings there are."""


def remedy(form: Form, seen: Seen) -> Remedy | None:
    """The fewest of a person's settings that must go so that it fits, or is tight instead of too large.

    None where it fits already, or memory is not known, or nothing but shorter rows can make it fit.
    """
    plan = seen.completed
    if plan is None or plan.forecast.memory is None or _rank(plan) <= _RANKS.index("unknown"):
        return None
    names, better = _first_that_helps(form, seen, plan)
    if better is None:
        return None if cuts_rows(plan) else Remedy(smallest=_smallest(plan))
    for name in tuple(names):
        fewer = names - {name}
        kept = _try(form, seen, fewer)
        if fewer and kept is not None and _rank(kept) <= _rank(better):
            names, better = fewer, kept
    return Remedy({name: form.chosen[name] for name in names}, better)


def apply(form: Form, found: Remedy | None) -> Form:
    """The form with these settings filled in again; `given_back` remembers them for the way back."""
    if found is None:  # it fits by now: pressed twice, or another tab freed the memory
        return form
    chosen = {name: value for name, value in form.chosen.items() if name not in found.given_back}
    return replace(form, chosen=chosen, given_back=dict(found.given_back))


def take_back(form: Form) -> Form:
    """The settings as the person had them."""
    return replace(form, chosen={**form.chosen, **form.given_back}, given_back={})


def _first_that_helps(form: Form, seen: Seen, plan: Plan) -> tuple[frozenset[str], Plan | None]:
    loosened: frozenset[str] = frozenset()
    best, names = None, loosened
    for group in LOOSENED:
        if not form.chosen.keys() & set(group):
            continue
        loosened |= form.chosen.keys() & set(group)
        tried = _try(form, seen, loosened)
        if tried is not None and _rank(tried) < _rank(best or plan):
            best, names = tried, loosened
            if _rank(best) == 0:
                break
    return names, best


def _try(form: Form, seen: Seen, without: Collection[str]) -> Plan | None:
    try:
        return ask(form, seen, without=without)
    except SpecRefused:
        return None


def cuts_rows(plan: Plan) -> bool:
    """Rows were filled in shorter than they are, because nothing else fits beside the person's settings."""
    length = plan.filled.get("max_length")
    return length is not None and length.reason == "length_cut_to_fit" and plan.forecast.memory.verdict == "fits"


def _rank(plan: Plan) -> int:
    return _RANKS.index("cut" if cuts_rows(plan) else plan.forecast.memory.verdict)


def _smallest(plan: Plan) -> "Fit":
    from studio.memory.fit import fit
    from studio.params.table import effective_batch_size
    from studio.rewards.judges import with_bytes

    return fit(
        plan.facts.inventory,
        with_bytes(plan.values, plan.facts.judges, on_gpu=plan.facts.machine.gpu is not None),
        shapes=plan.facts.shapes,
        machine=plan.facts.machine,
        chosen=(),
        wanted_batch=effective_batch_size(plan.values),
        experience=plan.facts.experience,
    )

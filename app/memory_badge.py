"""What a model card says of memory: whether LoRA with the form as it is filled in fits this machine.

From the inspection that the studio has kept of a model, with whichever data set; where there is none yet, a button
asks for it. Rows are taken as long as the table's default allows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from app.context import Context
from app.i18n import bytes_text
from app.markup import chip
from app.memory_view import needed_text
from app.probe_view import learned
from studio.db.jobs import JobView
from studio.hardware import Machine
from studio.jobs.lifecycle import LIVE
from studio.params.table import parameters

if TYPE_CHECKING:
    from studio.memory.estimate import Estimate
    from studio.memory.measured import Experience

_TONES = {"fits": "good", "tight": "warn", "too_large": "bad"}
UNSUCCESSFUL = frozenset({"failed", "lost", "stopped", "cancelled"})
LOOK_SCRIPT = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-look]');
  if (button) trigger('select', { model: button.dataset.look });
});
"""


@dataclass(frozen=True)
class Badge:
    estimate: "Estimate"
    """LoRA with the form as it is filled in."""
    batch: int
    """Rows at once."""
    length: int
    """Tokens of a row."""
    qlora: "Estimate | None" = None
    """With the model compressed; where LoRA does not fit and this does."""


def badge_of(inspected: Mapping[str, Any], machine: Machine, experience: "Experience | None" = None) -> Badge:
    """
    Args:
        inspected: figures of an inspect job (`{"inventory": {...}}`).
        experience: what runs of this model took.
    """
    lora, values = _filled_in(inspected, machine, "lora", experience)
    length, batch = values["max_length"], values["per_device_train_batch_size"]
    if lora.verdict == "fits":
        return Badge(lora, batch, length)
    qlora, _ = _filled_in(inspected, machine, "qlora", experience)
    return Badge(lora, batch, length, qlora if qlora.verdict == "fits" else None)


def badge_html(context: Context, badge: Badge) -> str:
    say, found = context.say, badge.estimate
    number = _number(context, found)
    setting = say("models.fit.setting", length=f"{badge.length:,}", batch=badge.batch)
    notes = [setting, *learned(context, found)]
    if badge.qlora is not None:
        notes.append(say("models.fit.qlora", needed=bytes_text(badge.qlora.allocated_bytes)))
    told = "".join(f'<small class="lu-memory-knob">{escape(each)}</small>' for each in notes)
    verdict = chip(say(f"models.fit.{found.verdict}"), _TONES.get(found.verdict, "soft"))
    return f'{verdict} <span class="lu-num">{escape(number)}</span>{told}'


def _number(context: Context, found: "Estimate") -> str:
    if found.verdict == "tight" and found.allocated_bytes > found.available_bytes:
        return needed_text(context, found)
    needed, budget = bytes_text(found.allocated_bytes), bytes_text(found.available_bytes)
    return context.say("models.fit.number", needed=needed, budget=budget)


def unseen_html(context: Context, model: str, job: JobView | None) -> str:
    """In place of a badge: not looked at yet, being looked at, or why that failed."""
    if job is not None and job.state in LIVE | {"queued"}:
        return f'<span class="lu-soft" role="status">{escape(context.say("models.fit.looking"))}</span>'
    button = '<button type="button" class="lu-link" data-look="{}">{}</button>'
    if job is not None and job.state in UNSUCCESSFUL:
        reason = context.say(f"errors.{job.reason}", **job.reason_values) if job.reason else ""
        told = f"{context.say('models.fit.failed')} {reason}".strip()
        return f"{escape(told)} {button.format(escape(model), escape(context.say('models.fit.again')))}"
    told = escape(context.say("models.fit.unseen"))
    return f"{told} {button.format(escape(model), escape(context.say('models.fit.look')))}"


def _filled_in(
    inspected: Mapping[str, Any], machine: Machine, tuning: str, experience: "Experience | None"
) -> tuple["Estimate", dict[str, Any]]:
    """The default form's estimate, and its values."""
    from studio.advisor.complete import complete
    from studio.advisor.facts import Facts
    from studio.memory.estimate import Shapes
    from studio.memory.fit import fit
    from studio.memory.inventory import from_figures
    from studio.params.table import effective_batch_size

    model = from_figures(inspected["inventory"])
    length = next(each.default for each in parameters("sft") if each.name == "max_length")
    asked = {"model_name_or_path": "-", "dataset": "-", "tuning": tuning, "max_length": length}
    values, _ = complete(asked, Facts(machine=machine, inventory=model))
    found = fit(
        model,
        values,
        shapes=Shapes(length),
        machine=machine,
        chosen=("tuning", "max_length"),
        wanted_batch=effective_batch_size(values),
        experience=experience,
    )
    return found.estimate, {**values, **found.values}

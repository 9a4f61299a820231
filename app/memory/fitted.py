"""Settings that fit, for a model that is known by its config.json alone: `luthier memory --config ... --fit`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from app.memory.documents import document_of
from app.memory.surveyed import at_hand, inventory_of, is_known, look_ahead, seen_as, shapes_of, wants_trace
from app.memory_options import NAMED, Asked, in_table
from studio.hardware import Machine
from studio.memory.inventory import Inventory
from studio.params.table import effective_batch_size
from studio.paths import Workspace

if TYPE_CHECKING:
    from studio.memory.fit import Fit

SETTINGS = (
    "tuning",
    "dtype",
    "mixed_precision",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "per_device_eval_batch_size",
    "max_length",
    "packing",
    "gradient_checkpointing",
    "optim",
    "attn_implementation",
    "lora_r",
    "lora_target_modules",
)
"""What decides how much memory a run takes, in the order in which `--fit` prints it."""
TRACES = 2
"""How often a search may have the layers traced: what it finds then may be trained in another way still."""


@dataclass(frozen=True)
class Fitted:
    settled: Asked
    """The question with everything filled in, as it fits best."""
    fit: "Fit"
    model: Inventory

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the memory, in the order of SETTINGS."""
        return {name: self.settled.values[name] for name in SETTINGS if name in self.settled.values}


def fit_config(config: Mapping[str, Any], question: Asked, place: Workspace, machine: Machine) -> dict[str, Any]:
    """The settings of largest throughput that fit, filled in as the form would be; what is given stays.

    Returns:
        `settings`, `fits`, `changed` (names that were not left as the form fills them in), `cuts_rows`,
        `too_large_by_bytes`, `largest` (each `name`, `bytes`, `knob`), and the estimate of these settings.

    Raises:
        RefusedInput: as `predict_config`.
    """
    found = fitted(config, question, place, machine)
    return {
        "settings": found.settings,
        "fits": found.fit.estimate.verdict == "fits",
        "changed": sorted(found.fit.values),
        "cuts_rows": found.fit.cuts_rows,
        "too_large_by_bytes": found.fit.excess_bytes,
        "largest": [asdict(term) for term in found.fit.largest],
        **document_of(found.fit.estimate, config, found.settled, found.model, place),
    }


def fitted(config: Mapping[str, Any], question: Asked, place: Workspace, machine: Machine) -> Fitted:
    """The search, with layers as they are trained with what it found.

    Raises:
        RefusedInput: as `predict_config`.
    """
    is_sure = is_known(config, place)
    model = at_hand(config, question, place) or inventory_of(config, question, place)
    found = _fit(model, question, machine)
    for _ in range(TRACES):
        wants = wants_trace(found.model, found.settled, machine)
        if is_sure and not wants:
            break
        model, _ = seen_as(config, found.settled, place, is_tried=wants)
        found, is_sure = _fit(model, question, machine), True
    return found


def fitted_each(
    config: Mapping[str, Any], questions: Sequence[Asked], place: Workspace, machine: Machine
) -> list[Fitted]:
    """`fitted` of several questions about one model, which mostly takes one process for all.

    Raises:
        RefusedInput: as `predict_config`.
    """
    guesses = [guess for each in questions if (guess := fitted_at_once(config, each, place, machine))]
    wanting = [each.settled for each in guesses if wants_trace(each.model, each.settled, machine)]
    if wanting:
        look_ahead(config, wanting, place)
    return [fitted(config, each, place, machine) for each in questions]


def fitted_at_once(config: Mapping[str, Any], question: Asked, place: Workspace, machine: Machine) -> Fitted | None:
    """As `fitted`, by arithmetic alone: None where a model of this family cannot be counted without its code.

    Raises:
        RefusedInput: no config of a model.
    """
    model = at_hand(config, question, place)
    return model and _fit(model, question, machine)


def _fit(model: Inventory, question: Asked, machine: Machine) -> Fitted:
    """With everything that was not said as the form would have it, and then as it fits best."""
    from studio.advisor.complete import complete
    from studio.advisor.facts import Facts
    from studio.memory.fit import fit

    said = question.of_table(question.given)
    if "tuning" in said:
        said["tuning"] = in_table(said["tuning"])
    values, _ = complete({**NAMED, **said}, Facts(machine=machine, inventory=model))
    # The form has neither every method nor every tuning that the calculator knows.
    own = {name: question.values[name] for name in ("method", "tuning") if name == "method" or name in question.given}
    question = replace(question, values={**question.values, **values, **own})
    found = fit(
        model,
        question.values,
        shapes=shapes_of(question),
        machine=machine,
        chosen=question.given.keys(),
        stack=question.stack,
        wanted_batch=effective_batch_size(question.values),
    )
    return Fitted(replace(question, values={**question.values, **found.values}), found, model)

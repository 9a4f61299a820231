"""From a spec that names little to one that is complete: what the desk does before it queues a run."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from studio.advisor.draft import Filled
from studio.advisor.facts import Facts, facts_about
from studio.advisor.forecast import forecast
from studio.advisor.prefill import prefill
from studio.advisor.preflight import Finding, preflight
from studio.advisor.presets import presets_for
from studio.db.datasets import DatasetSummary
from studio.errors import Fault, RefusedInput, SpecRefused
from studio.hardware import Machine
from studio.memory.measured import document
from studio.params.layer_names import spelled_out
from studio.params.table import check
from studio.rewards import judges, recipe
from studio.rewards.kept import TriedReward

NAMED = ("model_name_or_path", "dataset", "run_name", "goal", "method", "intention")
"""What a spec is about; these never count as changed."""
UNTRIED = "untried"


@dataclass(frozen=True)
class Completed:
    values: dict[str, Any]
    """Every parameter of the method that applies."""
    chosen: list[str]
    """Names whose value differs from what would have been filled in."""
    reasons: dict[str, Filled]
    """Why each filled-in value has its value."""
    disk_bytes: int
    """What the checkpoints will take, about."""
    overridden: list[str] = field(default_factory=list)
    """Codes of the warnings that the run is started in spite of."""
    memory: dict[str, Any] = field(default_factory=dict)
    """What it is predicted to take, as `studio.memory.measured.document` has it."""
    reward: dict[str, Any] = field(default_factory=dict)
    """What trying its reward came to; empty where it learns from none."""


def complete(spec: Mapping[str, Any], facts: Facts) -> tuple[dict[str, Any], dict[str, Filled]]:
    """Checked, complete values, and why the filled-in ones have theirs.

    Raises:
        SpecRefused: with every fault of the spec.
    """
    typed = check(spec, is_draft=True)
    chosen = {name: typed[name] for name in spec if spec[name] is not None}
    if "lora_target_modules" in chosen and facts.inventory:
        paths = [module.name for module in facts.inventory.inner_linears]
        chosen["lora_target_modules"] = spelled_out(chosen["lora_target_modules"], paths)
    if chosen.get("rewards"):
        chosen["rewards"] = _settled_reward(chosen["rewards"], facts)
    reasons = prefill(facts, chosen)
    values = check({**{name: filled.value for name, filled in reasons.items()}, **chosen})
    if values.get("rewards"):
        values["rewards"] = _settled_reward(values["rewards"], facts)
    return values, reasons


def _settled_reward(document: Mapping[str, Any], facts: Facts) -> dict[str, Any]:
    """The reward with the models that it asks named for certain (`studio.rewards.judges`).

    Raises:
        SpecRefused: one of them cannot be asked.
    """
    try:
        return recipe.to_document(judges.settled(recipe.parse(document), facts.judges))
    except RefusedInput as error:
        raise SpecRefused([Fault("rewards", error.code, error.values)]) from error


def complete_spec(
    spec: Mapping[str, Any],
    *,
    dataset: DatasetSummary,
    inspection: Mapping[str, Any],
    machine: Machine,
    **known: Any,
) -> Completed:
    """A spec with everything filled in, and refused where a preflight rule calls it an error.

    Args:
        known: what else the studio knows, by the names of `Facts`.

    Raises:
        SpecRefused: with every fault of the spec, or every error of the preflight.
    """
    # Room on the disk is the desk's to check: it knows where the run's folder will lie.
    facts = facts_about(dataset, inspection, machine=machine, **known)
    spec = with_preset(spec, facts)
    values, reasons = complete(spec, facts)
    plan = forecast(facts, values)
    findings = preflight(facts, values, plan)
    faults = [_fault(finding) for finding in findings if finding.severity == "error"]
    if faults:
        raise SpecRefused(faults)
    return Completed(
        values,
        changed_names(spec, values, facts),
        reasons,
        plan.disk_bytes or 0,
        [finding.code for finding in findings if finding.severity == "warning"],
        document(plan.memory) if plan.memory else {},
        reward_told(values, facts.rewards, facts.model_name),
    )


def kept_with_run(completed: Completed) -> dict[str, Any]:
    """What the run's page will tell of its plan: the event `plan` of the job."""
    reasons = {name: asdict(filled) for name, filled in completed.reasons.items()}
    plan = {"reasons": reasons, "overridden": completed.overridden, "memory": completed.memory}
    return plan | ({"reward": completed.reward} if completed.reward else {})


def reward_told(values: Mapping[str, Any], tried: Sequence[TriedReward], model: str) -> dict[str, Any]:
    """The run's reward by name and hash, with the newest trial's verdict: with this model's answers if there is one."""
    if not values.get("rewards"):
        return {}
    found = recipe.parse(values["rewards"])
    trials = [each for each in tried if each.report.hash == recipe.digest(found)]
    last = next((each for each in trials if each.model == model), trials[0] if trials else None)
    told = {"name": found.name, "hash": recipe.digest(found), "verdict": last.verdict if last else UNTRIED}
    if last is None:
        return told
    stops = [reason.code for reason in last.report.reasons if reason.stops]
    return told | {"model": last.model, "tried_at": last.created_at, "stops": stops}


def with_preset(spec: Mapping[str, Any], facts: Facts) -> dict[str, Any]:
    """A spec with the values of its `preset` in the preset's place; what the spec says itself goes before.

    {"preset": "small-sft", "weight_decay": 0} -> {"weight_decay": 0, "learning_rate": 1e-05, "lora_dropout": 0.2, ...}

    Raises:
        SpecRefused: no preset of this name for the method.
    """
    given = {name: value for name, value in spec.items() if name != "preset" and value is not None}
    if not spec.get("preset"):
        return given
    known = {preset.name: preset for preset in presets_for(str(given.get("method", "sft")))}
    if spec["preset"] not in known:
        raise SpecRefused([Fault("preset", "spec.not_choice", {"value": spec["preset"], "choices": ", ".join(known)})])
    values, _ = complete(given, facts)
    resolved = known[spec["preset"]].resolved(
        method=values["method"],
        tuning=values["tuning"],
        per_device_train_batch_size=values["per_device_train_batch_size"],
    )
    return resolved | given


def changed_names(spec: Mapping[str, Any], values: Mapping[str, Any], facts: Facts) -> list[str]:
    """Names of a spec whose value is another than would be filled in beside the rest of it."""
    given = {name: values[name] for name in spec if name in values}
    changed = []
    for name in given:
        if name in NAMED:
            continue
        rest = {other: value for other, value in given.items() if other != name}
        recommended = prefill(facts, rest).get(name)
        if recommended is None or recommended.value != values[name]:
            changed.append(name)
    return changed


def _fault(finding: Finding) -> Fault:
    field = finding.mend[0] if finding.mend else "dataset"
    return Fault(field, f"preflight.{finding.code}", dict(finding.values))

"""Alarms: what goes wrong in a run, seen on its curves, why it matters, and what to change.

    watch(curves, {"method": "grpo", "beta": 0.001, ...})   ->  [Alarm("kl_explodes", ..., changes=({"beta": 0.003},))]

Rules are `templates/advice/alarms/*.yaml`, one file each; the numbers that they speak of are `studio.alarms.measures`.
They speak of how a run stands now, so an alarm goes when its cause is gone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import yaml

from studio.advisor.limits import holds
from studio.alarms.changes import changed
from studio.alarms.curves import Curve
from studio.alarms.measures import measures
from studio.paths import TEMPLATES

SEVERITIES = ("warning", "info")
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, kw_only=True)
class Rule:
    code: str
    severity: str
    source: str
    when: Mapping[str, Mapping[str, Any]]
    """{measure: {comparison: a number, or another measure's name}}; all must hold."""
    methods: tuple[str, ...]
    unless: tuple[str, ...] = ()
    """Alarms that say the same more exactly: beside one of them this is not told."""
    changes: tuple[Mapping[str, Mapping[str, Any]], ...] = ()
    """What to try, the likeliest first: {setting: how} of one setting or two (`studio.alarms.changes`); with `only`,
    limits of other settings outside which it would have no effect."""
    goto: str = ""
    """Where a person mends it besides: a tab of the data page."""


@dataclass(frozen=True)
class Alarm:
    """Its words are `alarms.seen.<code>`, `alarms.why.<code>` and `alarms.hint.<code>`."""

    rule: Rule
    values: Mapping[str, Any] = field(default_factory=dict)
    """Every measure, for the sentences."""
    changes: tuple[dict[str, Any], ...] = ()
    """What to try: {setting: its new value}."""

    @property
    def code(self) -> str:
        return self.rule.code


def watch(curves: Mapping[str, Curve], values: Mapping[str, Any]) -> list[Alarm]:
    """What the rules see now, warnings first.

    Args:
        curves: by metric.
        values: the run's settings.
    """
    own = [rule for rule in rules() if values.get("method", "sft") in rule.methods]
    if not own:
        return []
    known = measures(curves, values)
    found = {rule.code: rule for rule in own if all(holds(known, name, limits) for name, limits in rule.when.items())}
    told = [rule for rule in found.values() if not found.keys() & set(rule.unless)]
    made = [Alarm(rule, known, _changes(rule, values, known)) for rule in told]
    return sorted(made, key=lambda alarm: SEVERITIES.index(alarm.rule.severity))


def _changes(rule: Rule, values: Mapping[str, Any], known: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """Those that change something, and make settings that hold together."""
    found = []
    for change in rule.changes:
        has_effect = all(holds(values, name, limits) for name, limits in change.get("only", {}).items())
        if has_effect and (new := changed({n: how for n, how in change.items() if n != "only"}, values, known)):
            found.append(new)
    return tuple(found)


@cache
def rules() -> tuple[Rule, ...]:
    found = []
    for path in sorted((TEMPLATES / "advice" / "alarms").glob("*.yaml")):
        row = yaml.load(path.read_text("utf-8"), _Loader)
        lists = {name: tuple(row.get(name, ())) for name in ("methods", "unless", "changes")}
        found.append(Rule(**(row | lists | {"code": path.stem})))
    return tuple(found)

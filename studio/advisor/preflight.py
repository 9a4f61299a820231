"""Checks before a run: what is wrong or doubtful, why it matters, and what mends it.

Rules are `templates/advice/preflight/*.yaml`, one file each; the numbers that they speak of are `measures`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import yaml

from studio.advisor.facts import Facts
from studio.advisor.forecast import Forecast
from studio.advisor.limits import holds
from studio.advisor.measures import measures
from studio.messages import say
from studio.paths import TEMPLATES

SEVERITIES = ("error", "warning", "info")
LOOKS = ("clean", "checks", "again")
"""What a finding's button can look at: what cleaning would do, the checks of the data, the machine and model again."""
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, kw_only=True)
class Rule:
    code: str
    severity: str
    """error stops the run, warning may be overridden, info only tells."""
    when: Mapping[str, Mapping[str, Any]]
    """{measure: {comparison: a number, or another measure's name}}; all must hold."""
    source: str
    mend: tuple[str, ...] = ()
    """Fields that, set back to what is recommended, mend it."""
    goto: str = ""
    """Where a person mends it, if going back does not: `data/clean` is a tab of the data page, `models` a page,
    `#goal` a field of the form."""
    look: str = ""
    """One of `LOOKS`: nobody knows yet, and this finds out."""


@dataclass(frozen=True)
class Finding:
    """One thing to know before Train is pressed."""

    rule: Rule
    values: Mapping[str, Any] = field(default_factory=dict)
    """Fill its sentences: `errors.preflight.<code>` or `advice.<code>`, and `preflight.why.<code>`."""

    @property
    def code(self) -> str:
        return self.rule.code

    @property
    def severity(self) -> str:
        return self.rule.severity

    @property
    def mend(self) -> tuple[str, ...]:
        return self.rule.mend

    def message(self, language: str) -> str:
        """What was found."""
        area = "errors.preflight" if self.severity == "error" else "advice"
        return say(f"{area}.{self.code}", language, **self.values)

    def why(self, language: str) -> str:
        """Why it matters."""
        return say(f"preflight.why.{self.code}", language, **self.values)


def preflight(facts: Facts, values: Mapping[str, Any], plan: Forecast) -> list[Finding]:
    """What the rules find, errors first."""
    known = measures(facts, values, plan)
    found = [
        Finding(rule, known)
        for rule in rules()
        if all(holds(known, name, limits) for name, limits in rule.when.items())
    ]
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))


@cache
def rules() -> tuple[Rule, ...]:
    found = []
    for path in sorted((TEMPLATES / "advice" / "preflight").glob("*.yaml")):
        row = yaml.load(path.read_text("utf-8"), _Loader)
        found.append(Rule(**(row | {"code": path.stem, "mend": tuple(row.get("mend", ()))})))
    return tuple(found)

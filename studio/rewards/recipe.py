"""A reward: rules with weights, what is taken off, and what they judge; read from a spec, checked, written as YAML.

    name: short and right
    rewards:
      - {name: json, match: values, keys: {name: text}, weight: 1.0}
      - {name: contains, texts: [sorry], penalty: true, weight: 0.3}      words that cost points
      - {name: length_penalty, max: 80, buffer: 20, weight: 0.5}
    dimensions: {correctness: 1.0, style: 0.5}                            what their rules' weights are multiplied by
    missing: row                                                          a row with a missing score has no reward

A list of rules alone, as in a spec, is a reward too. Weights are above 0: what is to cost points is a penalty.
"""

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import msgspec
import yaml

from studio.errors import RefusedInput
from studio.graders import declared as graders
from studio.graders.declared import refuse_unknown
from studio.workshop.recipe import plain

KEYS = ("name", "weight", "penalty", "part", "dimension")
"""Entries of a rule that are no option of its grader."""
WHOLE, ANSWER, AFTER_THINK, LAST_LINE = "whole", "answer", "after_think", "last_line"
PARTS = (WHOLE, ANSWER, AFTER_THINK, LAST_LINE)
"""What a rule looks at: the whole answer, what stands in <answer>, what follows </think>, or its last line."""
ROW, RULE = "row", "rule"
MISSING = (ROW, RULE)
"""Where a rule has no score for an answer: row: the answer has no reward; rule: the other rules' sum is its reward."""
MOST_RULES, MANY_RULES = 20, 6
"""A reward cannot have more; from the second on it is advised against (KNOWHOW 5: few rules, complete rules)."""
MOST_WEIGHT = 100.0
_LONGEST_NAME, _LONGEST_TITLE = 40, 60


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One grader with its options, and how much it counts."""

    name: str
    """A grader's, see `studio.graders.declared`."""
    options: dict[str, Any] = {}
    """Those that differ from the grader's defaults."""
    weight: float = 1.0
    penalty: bool = False
    """Its score is taken off instead of added."""
    part: str = WHOLE
    dimension: str = ""
    """What it judges; empty: what its grader says."""

    @property
    def judges(self) -> str:
        return self.dimension or graders.declared(self.name).dimension

    @property
    def range(self) -> tuple[float, float]:
        """Least and greatest value, as it enters the sum before its weight."""
        low, high = graders.declared(self.name).range
        return (-high, -low) if self.penalty else (low, high)

    @property
    def runs_here(self) -> bool:
        return graders.declared(self.name).runs == graders.HERE


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    name: str = ""
    """What a person calls it; it makes no other reward."""
    rules: tuple[Rule, ...]
    dimensions: dict[str, float] = {}
    """What the weights of a dimension's rules are multiplied by; 1 where it is not named."""
    missing: str = ROW

    @property
    def keys(self) -> tuple[str, ...]:
        """A name for each rule; where a grader stands twice the later ones bear a number: contains, contains_2."""
        seen: dict[str, int] = {}
        named = []
        for rule in self.rules:
            seen[rule.name] = seen.get(rule.name, 0) + 1
            named.append(rule.name if seen[rule.name] == 1 else f"{rule.name}_{seen[rule.name]}")
        return tuple(named)

    @property
    def weights(self) -> tuple[float, ...]:
        """What each rule's value is multiplied by: its weight times its dimension's."""
        return tuple(rule.weight * self.dimensions.get(rule.judges, 1.0) for rule in self.rules)

    @property
    def range(self) -> tuple[float, float]:
        """Least and greatest reward."""
        weighed = list(zip(self.rules, self.weights, strict=True))
        low, high = (sum(weight * rule.range[side] for rule, weight in weighed) for side in (0, 1))
        return low, high


def parse(document: Any) -> Recipe:
    """A reward from what YAML or JSON holds: a list of rules, or an object with `rewards`. All of it is checked.

    Raises:
        RefusedInput: a rule, entry or setting that does not exist, with the closest one that does; or a bad value.
    """
    document = {"rewards": document} if isinstance(document, list) else document
    if not isinstance(document, dict) or not isinstance(document.get("rewards"), list):
        raise RefusedInput("reward.shape")
    for key in document:
        refuse_unknown("key", key, ("name", "rewards", "dimensions", "missing"))
    rules = tuple(_rule(entry) for entry in document["rewards"])
    if not rules:
        raise RefusedInput("reward.no_rules")
    if len(rules) > MOST_RULES:
        raise RefusedInput("reward.many_rules", count=len(rules), most=MOST_RULES)
    missing = document.get("missing", ROW)
    refuse_unknown("missing", missing, MISSING)
    dimensions = _dimensions(document.get("dimensions") or {}, rules)
    return Recipe(name=_title(document.get("name") or ""), rules=rules, dimensions=dimensions, missing=missing)


def parse_yaml(text: str, *, file: str) -> Recipe:
    """
    Raises:
        RefusedInput: no YAML, or no reward.
    """
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise RefusedInput("cli.bad_yaml", file=file, detail=" ".join(str(error).split())[:200]) from None
    return parse(document)


def to_document(recipe: Recipe) -> dict[str, Any]:
    """The reward as plain values, what is as usual left out; `parse` gives the same reward back."""
    document: dict[str, Any] = {"name": recipe.name} if recipe.name else {}
    document["rewards"] = [_entry(rule) for rule in recipe.rules]
    if recipe.dimensions:
        document["dimensions"] = dict(recipe.dimensions)
    return document if recipe.missing == ROW else document | {"missing": recipe.missing}


def to_yaml(recipe: Recipe) -> str:
    return yaml.safe_dump(to_document(recipe), allow_unicode=True, sort_keys=False)


def digest(recipe: Recipe) -> str:
    """What tells two rewards apart: every setting, written or not, in the order of the rules."""
    whole = [
        [rule.name, rule.weight, rule.penalty, rule.part, rule.judges, plain(graders.options(rule.name, rule.options))]
        for rule in recipe.rules
    ]
    weights = {name: weight for name, weight in recipe.dimensions.items() if weight != 1}
    text = msgspec.json.encode([whole, weights, recipe.missing], order="sorted")
    return hashlib.sha256(text).hexdigest()


def needs(recipe: Recipe) -> dict[str, tuple[str, ...]]:
    """{rule's key: what it needs of a row}, of the rules that need anything."""
    found = {
        key: graders.needs(rule.name, graders.options(rule.name, rule.options))
        for key, rule in zip(recipe.keys, recipe.rules, strict=True)
    }
    return {key: wanted for key, wanted in found.items() if wanted}


def _rule(entry: Any) -> Rule:
    entry = {"name": entry} if isinstance(entry, str) else entry
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise RefusedInput("reward.shape")
    name = entry["name"]
    refuse_unknown("grader", name, graders.GRADERS)
    chosen = {key: value for key, value in entry.items() if key not in KEYS}
    graders.options(name, chosen)
    penalty, part = entry.get("penalty", False), entry.get("part", WHOLE)
    if not isinstance(penalty, bool):
        raise RefusedInput("reward.bad_flag", name=name, key="penalty")
    if penalty and graders.declared(name).range[1] <= 0:
        raise RefusedInput("reward.is_penalty", name=name)
    refuse_unknown("part", part, PARTS)
    return Rule(
        name=name,
        options=chosen,
        weight=_weight(name, entry.get("weight", 1.0)),
        penalty=penalty,
        part=part,
        dimension=_dimension(entry.get("dimension", "")),
    )


def _weight(name: str, value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or not 0 < value <= MOST_WEIGHT:
        raise RefusedInput("reward.bad_weight", name=name, value=str(value)[:40], most=int(MOST_WEIGHT))
    return float(value)


def _title(name: Any) -> str:
    if not isinstance(name, str) or len(name.strip()) > _LONGEST_TITLE:
        raise RefusedInput("reward.bad_name", most=_LONGEST_TITLE)
    return " ".join(name.split())


def _dimension(name: Any) -> str:
    if not isinstance(name, str) or len(name.strip()) > _LONGEST_NAME:
        raise RefusedInput("reward.bad_dimension", most=_LONGEST_NAME)
    return name.strip()


def _dimensions(given: Any, rules: tuple[Rule, ...]) -> dict[str, float]:
    if not isinstance(given, Mapping):
        raise RefusedInput("reward.shape")
    judged = tuple(dict.fromkeys(rule.judges for rule in rules))
    for name in given:
        refuse_unknown("dimension", name, judged)
    return {name: _weight(name, weight) for name, weight in given.items()}


def _entry(rule: Rule) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": rule.name, **rule.options, "weight": rule.weight}
    entry |= {"penalty": True} if rule.penalty else {}
    entry |= {"part": rule.part} if rule.part != WHOLE else {}
    return entry | ({"dimension": rule.dimension} if rule.dimension else {})

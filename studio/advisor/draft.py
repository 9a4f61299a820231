"""A form while it is being filled in: what a person chose stands, the rest is filled, and may be filled again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from studio.advisor.counting import steps_of
from studio.advisor.facts import Facts
from studio.advisor.joined import as_learned
from studio.params.table import parameters


@dataclass(frozen=True)
class Filled:
    """A value that was filled in; its words are `reasons.<reason>`."""

    value: Any
    reason: str
    values: Mapping[str, Any] = field(default_factory=dict)
    """Fill the reason's sentence."""
    source: str = ""
    """Who says so: letters of the documents, measured, trl, ours."""


class Draft:
    """The values so far."""

    def __init__(self, facts: Facts, chosen: dict[str, Any]) -> None:
        self.given = facts
        """Of the data as it is; `facts` is of the rows that the method makes of it."""
        self.chosen = chosen
        self.filled: dict[str, Filled] = {}
        self.table = {parameter.name: parameter for parameter in parameters(chosen.get("method", "sft"))}

    def fill(self, name: str, value: Any, reason: str, *, source: str = "", **values: Any) -> None:
        """Fill a parameter in; nothing where a person chose it, or where this method has no such parameter."""
        if name in self.table and name not in self.chosen:
            self.filled[name] = Filled(value, reason, values, source)

    def __getitem__(self, name: str) -> Any:
        return self.chosen[name] if name in self.chosen else self.filled[name].value

    @property
    def facts(self) -> Facts:
        return as_learned(self.given, self.values)

    @property
    def values(self) -> dict[str, Any]:
        return {name: filled.value for name, filled in self.filled.items()} | self.chosen

    @property
    def steps(self) -> int:
        return steps_of(self.values, self.facts.rows, self.facts.validation_rows)

    def applies(self, name: str) -> bool:
        return self.table[name].applies_to(self.values)

    @property
    def rows(self) -> int:
        """The number of rows, for sentences."""
        return self.facts.rows or 0

    @property
    def size(self) -> str:
        """The model's size, as sentences show it: 1.5B, 135M."""
        if self.facts.inventory is None:
            return "–"
        size = self.facts.inventory.parameters
        return f"{size / 1e9:.1f}B" if size >= 1e9 else f"{size / 1e6:.0f}M"

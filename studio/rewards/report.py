"""What trying a reward comes to: figures, examples, and the reasons against using it yet."""

from typing import Any

import msgspec

from studio.graders.score import Score
from studio.workshop.labelling.agreement import Agreement

CHEAT = "cheat"
"""A person's mark of an answer that only pleases the reward; to the reward it is a bad one."""
CHEATS = frozenset({"cheat", "cheating", "hack", "作弊", "取巧", "钻空子"})
"""Tags of a labelling round that say the same."""
GREEN, NOT_YET = "green", "not_yet"
BINS = 20


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """What a person says of one answer."""

    kind: str
    row: int
    place: int = 0
    rating: str
    """good, bad or cheat."""


class KindFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The rewards of one kind of answers."""

    kind: str
    answers: int
    missing: int
    """Answers without a reward."""
    mean: float | None
    counts: tuple[int, ...]
    """Answers by reward, `BINS` of equal width from the least to the greatest reward."""


class RuleFigures(msgspec.Struct, frozen=True, kw_only=True):
    key: str
    name: str
    judges: str
    weight: float
    """With that of what it judges."""
    range: tuple[float, float]
    means: dict[str, float]
    """Kind of answers -> mean of its values before the weight."""
    fires: float | None
    """Share of all answers on which its value is not 0."""
    is_constant: bool
    missing: dict[str, int] = {}
    """Why -> answers without a value."""


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """An answer to look at."""

    kind: str
    row: int
    place: int
    question: str
    answer: str
    total: float
    values: dict[str, Score]
    """Rule's key -> its value and why."""


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """Something to know of this reward; words: `reward.reason.<code>`."""

    code: str
    stops: bool
    """Whether a run should not start before it is mended."""
    values: dict[str, Any] = {}


class TrialReport(msgspec.Struct, frozen=True, kw_only=True):
    recipe: dict[str, Any]
    hash: str
    """Of the reward: a changed one has not been tried."""
    rows: int
    range: tuple[float, float]
    kinds: list[KindFigures]
    rules: list[RuleFigures]
    best: list[Shown]
    worst: list[Shown]
    wins: float | None
    """Share of rows on which the data's own answer beats another row's; None where the data has no answers."""
    trivial: dict[str, float]
    """Trivial kind -> share of rows on which it is worth as much as the right answer."""
    scoring: float | None
    """Share of questions with a sampled answer that scores; None where none was sampled."""
    threshold: float | None
    """A reward from here on counts as scoring."""
    agreement: Agreement | None
    """Of the reward with a person's marks; None without marks."""
    reasons: list[Reason]

    @property
    def verdict(self) -> str:
        return NOT_YET if any(reason.stops for reason in self.reasons) else GREEN

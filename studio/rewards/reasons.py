"""What the figures of a trial mean: what stops a run with this reward, and what is only worth knowing."""

from collections.abc import Mapping
from statistics import fmean
from typing import Any

from studio.rewards.answers_to_try import OWN, SAMPLED, TRIVIAL, WRONG
from studio.rewards.measuring import EPSILON, Facts
from studio.rewards.recipe import MANY_RULES
from studio.rewards.report import Reason
from studio.workshop.labelling.agreement import Agreement

LEAST_SCORING = 0.2
"""Share of questions on which the model has to score now and then (KNOWHOW 1: D)."""
LEAST_WINS = 0.75
"""Share of rows on which the data's own answer must beat another row's."""
HACKED, NEARLY_HACKED = 0.5, 0.2
"""Share of rows on which a trivial answer is worth as much as the right one."""
MOST_MISSING = 0.05
FEW_ROWS = 20


def reasons(facts: Facts, measured: Mapping[str, Any]) -> list[Reason]:
    return [*_stops(facts, measured), *_advice(facts, measured)]


def _stops(facts: Facts, measured: Mapping[str, Any]) -> list[Reason]:
    totals = [total for each in facts.totals(OWN, WRONG, SAMPLED).values() for total in each]
    is_constant = len(totals) > 1 and max(totals) - min(totals) <= EPSILON
    wins, scoring, agreed = measured["wins"], measured["scoring"], measured["agreement"]
    lacking = _missing_share(facts)
    hacked = {kind: share for kind, share in measured["trivial"].items() if share >= HACKED}
    found = [
        ("elsewhere", bool(facts.left_out), {"rules": ", ".join(facts.left_out)}),
        ("constant", is_constant, {}),
        ("missing", lacking > MOST_MISSING, {"percent": _percent(lacking), "rules": ", ".join(facts.scored.missing())}),
        ("blind", not is_constant and wins is not None and wins < LEAST_WINS, {"percent": _percent(wins)}),
        *((f"hacked_{kind}", not is_constant, {"percent": _percent(share)}) for kind, share in hacked.items()),
        ("never_scores", scoring is not None and scoring < LEAST_SCORING, {"percent": _percent(scoring)}),
        ("disagreement", agreed is not None and agreed.level == "low", {"value": _kappa(agreed)}),
        ("not_sampled", scoring is None and not facts.totals(SAMPLED), {}),
    ]
    return [Reason(code=code, stops=True, values=values) for code, holds, values in found if holds]


def _advice(facts: Facts, measured: Mapping[str, Any]) -> list[Reason]:
    idle = [rule.key for rule in measured["rules"] if rule.fires == 0]
    same = [rule.key for rule in measured["rules"] if rule.is_constant and rule.fires]
    nearly = {kind: share for kind, share in measured["trivial"].items() if NEARLY_HACKED <= share < HACKED}
    agreed = measured["agreement"]
    found = [
        ("many_rules", len(facts.recipe.rules) >= MANY_RULES, {"count": len(facts.recipe.rules)}),
        ("only_penalties", bool(facts.recipe.rules) and facts.recipe.range[1] <= 0, {}),
        *(("never_fires", True, {"rule": key}) for key in idle),
        *(("always_same", True, {"rule": key}) for key in same),
        *((f"nearly_{kind}", True, {"percent": _percent(share)}) for kind, share in nearly.items()),
        ("few_rows", len(facts.rows) < FEW_ROWS, {"count": len(facts.rows)}),
        (
            "few_marks",
            agreed is not None and agreed.level in ("few", "unknown"),
            {"count": agreed.rows if agreed else 0},
        ),
    ]
    return [Reason(code=code, stops=False, values=values) for code, holds, values in found if holds]


def _missing_share(facts: Facts) -> float:
    counted = [
        total is None for each, total in zip(facts.tried, facts.scored.totals, strict=True) if each.kind not in TRIVIAL
    ]
    return fmean(counted) if counted else 0.0


def _percent(share: float | None) -> int:
    return round(100 * (share or 0.0))


def _kappa(agreed: Agreement | None) -> str:
    return "–" if agreed is None or agreed.value is None else f"{agreed.value:.2f}"

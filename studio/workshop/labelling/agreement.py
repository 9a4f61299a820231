"""How far annotators agree beyond chance: Cohen's kappa, Fleiss' kappa, Krippendorff's alpha.

    cohen_kappa([("yes", "yes"), ("yes", "no"), ...])                ->  0.4
    fleiss_kappa([{"a": 3}, {"a": 1, "b": 2}, ...])                  ->  0.21
    krippendorff_alpha([["1", "1", "2"], ["3", "3"]], order=...)     ->  0.815
    agreement({7: {"Ann": "4", "Ben": "5"}, ...}, order=("1", "2", "3", "4", "5"))  ->  the measure that fits the marks

1 is perfect, 0 what chance would give, below 0 worse than chance. None where it is undefined: nothing to compare, or
only one value was ever used, so that chance alone would agree as well. Everything here is pure.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, permutations

import msgspec

COHEN, COHEN_WEIGHTED, FLEISS, ALPHA, ALPHA_ORDINAL = "cohen", "cohen_weighted", "fleiss", "alpha", "alpha_ordinal"

RELIABLE, TENTATIVE = 0.8, 0.667
"""Krippendorff, "Content Analysis", 2nd edition 2004, p. 241: rely on what reaches 0.8, draw tentative conclusions only
from 0.667 on."""
FEW_ROWS = 10
"""With fewer rows marked by two or more the figure says little."""

Marks = Mapping[int, Mapping[str, str]]
"""Row -> annotator -> value."""


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    measure: str
    """cohen, cohen_weighted, fleiss, alpha or alpha_ordinal."""
    value: float | None
    rows: int
    """Rows with marks of two annotators or more; only these count."""
    annotators: int
    same: float | None
    """Share of the pairs of marks on the same row that are equal; chance is not taken off."""
    level: str
    """reliable, tentative, low, few or unknown."""


def agreement(marks: Marks, *, order: Sequence[str] = ()) -> Agreement:
    """The agreement of all annotators, by the measure that fits who marked what.

    Two annotators: Cohen's kappa. Several, each row by equally many, without an order: Fleiss' kappa. Else, as where
    marks are missing: Krippendorff's alpha.

    Args:
        order: the scale from lowest to highest where it has an order; a near miss then counts less than a far one.
    """
    shared = {row: given for row, given in marks.items() if len(given) > 1}
    names = {name for given in shared.values() for name in given}
    value, measure = _measured(shared, sorted(names), order)
    return Agreement(
        measure=measure,
        value=value,
        rows=len(shared),
        annotators=len(names),
        same=_same_share(shared.values()),
        level=_level(value, len(shared)),
    )


def pairs(marks: Marks, *, order: Sequence[str] = ()) -> list[tuple[str, str, Agreement]]:
    """Each two annotators who marked a row in common, by name."""
    names = sorted({name for given in marks.values() for name in given})
    found = []
    for one, other in combinations(names, 2):
        both = {row: {one: it[one], other: it[other]} for row, it in marks.items() if one in it and other in it}
        if both:
            found.append((one, other, agreement(both, order=order)))
    return found


def cohen_kappa(pairs: Sequence[tuple[str, str]], *, order: Sequence[str] = ()) -> float | None:
    """Two annotators: (p_o - p_e) / (1 - p_e) with p_e from each one's own shares.

    Cohen, "A coefficient of agreement for nominal scales", 1960, eq. 1. With an `order`, quadratic weights: Cohen,
    "Weighted kappa", 1968: 1 - sum(w o) / sum(w e).
    """
    if not pairs:
        return None
    place = {value: at for at, value in enumerate(order)}

    def weight(one: str, other: str) -> float:
        return (place[one] - place[other]) ** 2 if order else float(one != other)

    first, second = Counter(one for one, _ in pairs), Counter(other for _, other in pairs)
    observed = sum(weight(one, other) for one, other in pairs) / len(pairs)
    expected = sum(weight(one, other) * first[one] * second[other] for one in first for other in second)
    expected /= len(pairs) ** 2
    return 1 - observed / expected if expected else None


def fleiss_kappa(counts: Sequence[Mapping[str, int]]) -> float | None:
    """Several annotators, equally many on each row: value -> how many chose it, row by row.

    Fleiss, "Measuring nominal scale agreement among many raters", 1971, eq. 1-7.
    """
    if not counts:
        return None
    raters = sum(counts[0].values())
    if raters < 2 or any(sum(row.values()) != raters for row in counts):
        return None
    total: Counter[str] = Counter()
    for row in counts:
        total.update(row)
    agreeing = [sum(n * (n - 1) for n in row.values()) / (raters * (raters - 1)) for row in counts]
    observed = sum(agreeing) / len(agreeing)
    expected = sum((n / (len(counts) * raters)) ** 2 for n in total.values())
    return (observed - expected) / (1 - expected) if expected < 1 else None


def krippendorff_alpha(units: Iterable[Sequence[str]], *, order: Sequence[str] = ()) -> float | None:
    """Any number of annotators, marks may be missing: the values given to each row. 1 - D_o / D_e.

    Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011, parts C and D: nominal difference, or with an
    `order` the ordinal one, (n_c / 2 + what lies between + n_k / 2) squared.
    """
    coincidences: dict[tuple[str, str], float] = defaultdict(float)
    for values in units:
        for one, other in permutations(values, 2):
            coincidences[one, other] += 1 / (len(values) - 1)
    totals: Counter[str] = Counter()
    for (one, _), share in coincidences.items():
        totals[one] += share
    difference = _ordinal(totals, order) if order else lambda one, other: float(one != other)
    observed = sum(share * difference(one, other) for (one, other), share in coincidences.items())
    expected = sum(totals[one] * totals[other] * difference(one, other) for one in totals for other in totals)
    return 1 - (sum(totals.values()) - 1) * observed / expected if expected else None


def _ordinal(totals: Mapping[str, float], order: Sequence[str]):
    place = {value: at for at, value in enumerate(order)}
    before = [0.0]
    for value in order:
        before.append(before[-1] + totals.get(value, 0))

    def difference(one: str, other: str) -> float:
        low, high = sorted((place[one], place[other]))
        through = before[high + 1] - before[low]
        return (through - (totals.get(one, 0) + totals.get(other, 0)) / 2) ** 2

    return difference


def _measured(shared: Marks, names: list[str], order: Sequence[str]) -> tuple[float | None, str]:
    if len(names) == 2:
        both = [(given[names[0]], given[names[1]]) for given in shared.values()]
        return cohen_kappa(both, order=order), COHEN_WEIGHTED if order else COHEN
    sizes = {len(given) for given in shared.values()}
    if not order and len(names) > 2 and sizes == {len(names)}:
        return fleiss_kappa([Counter(given.values()) for given in shared.values()]), FLEISS
    units = [list(given.values()) for given in shared.values()]
    return krippendorff_alpha(units, order=order), ALPHA_ORDINAL if order else ALPHA


def _same_share(rows: Iterable[Mapping[str, str]]) -> float | None:
    equal = [one == other for given in rows for one, other in combinations(given.values(), 2)]
    return sum(equal) / len(equal) if equal else None


def _level(value: float | None, rows: int) -> str:
    if value is None:
        return "unknown"
    if rows < FEW_ROWS:
        return "few"
    return "reliable" if value >= RELIABLE else "tentative" if value >= TENTATIVE else "low"

"""What annotators said of rows, and what follows from it: disputes, a settled result, which rows to leave out.

    settle(STARS, [Judgement("Ann", "4"), Judgement("Ben", "5")])      ->  Settled(rating 4.5, no dispute)
    settle(STARS, [Judgement("Ann", "1"), Judgement("Ben", "5")])      ->  Settled(disputes=("rating",))
    left_out(settled, Filter(least_rating=3), scale, "first round")    ->  ("labels.rating_below", {...}) or None

Pure: the marks themselves lie in the registry (`studio.db.labels`).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from studio.errors import RefusedInput

STARS, GOOD_BAD, LABELS = "stars", "good_bad", "labels"
KINDS = (STARS, GOOD_BAD, LABELS)
GOOD, BAD = "good", "bad"
RATING, CORRECTION, FLAG = "rating", "correction", "flag"
MOST_STARS = 5


class Scale(msgspec.Struct, frozen=True, kw_only=True):
    """What a rating may be."""

    kind: str
    values: tuple[str, ...]
    """From lowest to highest where the kind has an order."""
    tolerance: int = 0
    """Ratings so many places apart are still no dispute."""

    @property
    def order(self) -> tuple[str, ...]:
        """The values from lowest to highest, or nothing for plain labels."""
        return self.values if self.kind == STARS else ()


def stars(tolerance: int = 1) -> Scale:
    return Scale(kind=STARS, values=tuple(str(n + 1) for n in range(MOST_STARS)), tolerance=tolerance)


def good_bad() -> Scale:
    return Scale(kind=GOOD_BAD, values=(BAD, GOOD))


def scale_of(kind: str, labels: Sequence[str] = ()) -> Scale:
    """The scale of this kind; only `labels` takes values of one's own.

    Raises:
        RefusedInput: no such kind.
    """
    if kind == LABELS:
        return Scale(kind=LABELS, values=tuple(labels))
    if kind not in KINDS:
        raise RefusedInput("labels.scale", kind=kind, known=", ".join(KINDS))
    return good_bad() if kind == GOOD_BAD else stars()


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """One annotator's mark of one row, or the arbiter's decision."""

    annotator: str
    rating: str | None = None
    tags: tuple[str, ...] = ()
    correction: str | None = None
    """The answer as it should be."""
    note: str = ""
    is_flagged: bool = False


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """What all marks of a row come to."""

    rating: str | None = None
    """The value that most chose; of stars the middle one."""
    score: float | None = None
    """Mean of the stars; of good and bad the share of good."""
    tags: tuple[str, ...] = ()
    correction: str | None = None
    disputes: tuple[str, ...] = ()
    """Why an arbiter has to look: rating, correction, flag. Nothing once one has decided."""
    is_decided: bool = False


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which marked rows stay in training."""

    least_rating: int | None = None
    """Of stars: rows with a lower mean are left out. Of good and bad: any number leaves out the bad."""
    labels: tuple[str, ...] = ()
    """Of labels: only these stay; nothing: all."""
    drop_tags: tuple[str, ...] = ()
    keep_tags: tuple[str, ...] = ()
    """Only rows with one of these stay; nothing: all."""
    drop_unmarked: bool = False
    """Leave out rows that nobody marked, too."""
    use_corrections: bool = True


Reason = tuple[str, dict[str, Any]]
"""Code below `problems.`, and the values of its sentence."""


def disputes(scale: Scale, given: Sequence[Judgement]) -> tuple[str, ...]:
    """What keeps these marks from being one: ratings too far apart, different corrections, a flag."""
    places = [scale.values.index(each.rating) for each in given if each.rating in scale.values]
    reach = scale.tolerance if scale.order else 0
    found = {
        RATING: bool(places) and max(places) - min(places) > reach,
        CORRECTION: len({each.correction.strip() for each in given if each.correction is not None}) > 1,
        FLAG: any(each.is_flagged for each in given),
    }
    return tuple(name for name, holds in found.items() if holds)


def settle(scale: Scale, given: Sequence[Judgement], decision: Judgement | None = None) -> Settled:
    """The result of a row; an arbiter's decision stands above all marks."""
    if decision is not None:
        score = _score(scale, [decision.rating])
        return Settled(
            rating=decision.rating,
            score=score,
            tags=decision.tags,
            correction=decision.correction,
            is_decided=True,
        )
    ratings = [each.rating for each in given if each.rating is not None]
    corrections = [each.correction for each in given if each.correction is not None]
    return Settled(
        rating=_middle(scale, ratings),
        score=_score(scale, ratings),
        tags=tuple(sorted({tag for each in given for tag in each.tags})),
        correction=corrections[0] if corrections else None,
        disputes=disputes(scale, given),
    )


def left_out(settled: Settled, chosen: Filter, scale: Scale, round_name: str) -> Reason | None:
    """Why a row does not stay, or None if it stays. A row in dispute stays; so does a corrected one, whatever its
    rating: that was of the old answer."""
    if settled.disputes:
        return None
    tags = set(settled.tags)
    if hit := sorted(tags & set(chosen.drop_tags)):
        return "labels.tag", {"tag": hit[0], "round": round_name}
    if chosen.keep_tags and not tags & set(chosen.keep_tags):
        return "labels.tag_missing", {"tags": ", ".join(chosen.keep_tags), "round": round_name}
    if settled.rating is None or (chosen.use_corrections and settled.correction is not None):
        return None
    return _by_rating(settled, chosen, scale, round_name)


def keep_or_drop(scale: Scale, settled: Settled) -> bool | None:
    """The row as a mark for the quality classifier: keep, drop, or neither (in between, in dispute, plain labels).

    An answer that somebody had to correct is none to keep.
    """
    if settled.disputes or scale.kind == LABELS:
        return None
    if settled.correction is not None:
        return False
    if settled.score is None:
        return None
    share = (settled.score - 1) / (len(scale.values) - 1) if scale.kind == STARS else settled.score
    return True if share >= 0.75 else False if share <= 0.25 else None


def counts(scale: Scale, results: Mapping[int, Settled]) -> dict[str, int]:
    """How many rows came out at each value of the scale, in its order."""
    found = Counter(each.rating for each in results.values() if not each.disputes)
    return {value: found[value] for value in scale.values}


def _by_rating(settled: Settled, chosen: Filter, scale: Scale, round_name: str) -> Reason | None:
    if scale.kind == LABELS:
        if chosen.labels and settled.rating not in chosen.labels:
            return "labels.not_kept", {"rating": settled.rating, "round": round_name}
        return None
    if chosen.least_rating is None or settled.score is None:
        return None
    if scale.kind == GOOD_BAD:
        return ("labels.bad", {"round": round_name}) if settled.rating == BAD else None
    if settled.score < chosen.least_rating:
        return "labels.rating_below", {
            "rating": f"{settled.score:g}",
            "least": chosen.least_rating,
            "round": round_name,
        }
    return None


def _score(scale: Scale, ratings: Sequence[str | None]) -> float | None:
    known = [each for each in ratings if each in scale.values]
    if not known or scale.kind == LABELS:
        return None
    if scale.kind == GOOD_BAD:
        return known.count(GOOD) / len(known)
    return round(sum(int(each) for each in known) / len(known), 2)


def _middle(scale: Scale, ratings: Sequence[str]) -> str | None:
    """Of stars the lower median; else what most chose, the first in the scale where two are level."""
    if not ratings:
        return None
    if scale.order:
        return sorted(ratings, key=scale.values.index)[(len(ratings) - 1) // 2]
    chosen = Counter(ratings)
    return max(scale.values, key=lambda value: chosen[value])

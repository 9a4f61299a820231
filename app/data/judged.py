"""Rows by what annotators said of them: filters by rating and by tag, where a labelling round has said anything.

rows(session, "shop", rating="high", tag="polite")  ->  [3, 17]
"""

from collections import Counter
from typing import Any

from sqlalchemy.orm import Session

from app.context import Context
from app.data import controls
from studio.db import jobs, label_results, labels
from studio.db.datasets import DatasetSummary

BANDS = {"high": (0.7, 1.0), "middle": (0.4, 0.7), "low": (-1.0, 0.4)}
"""Above the first and up to the second number, as a share of the highest rating: of five stars 4 and 5, 3, 1 and 2."""
NO_ROW = (0,)
"""Numbers of rows begin at 1."""
Said = tuple[dict[int, float], dict[int, tuple[str, ...]]]
_kept: dict[tuple[Any, str, int], Said] = {}
_MOST_KEPT = 4


def rows(session: Session, dataset: str, *, rating: str, tag: str) -> tuple[int, ...]:
    """Rows with a rating of this band and with this tag (empty: any); `NO_ROW` where none is like that."""
    found = []
    if rating in BANDS:
        low, high = BANDS[rating]
        given = _said(session, dataset)[0]
        found.append({row for row, value in given.items() if low < value <= high})
    if tag:
        tagged = _said(session, dataset)[1]
        found.append({row for row, tags in tagged.items() if tag in tags})
    return tuple(sorted(set.intersection(*found))) or NO_ROW if found else ()


def filters(context: Context, chosen: DatasetSummary, *, rating: str, tag: str) -> list[str]:
    """A drop-down of ratings and one of tags; none where nothing was rated or tagged."""
    say = context.say
    with context.registry.session() as session:
        if not labels.list_rounds(session, chosen.name):
            return []
        given, tags_of = _said(session, chosen.name)
        tagged = Counter(tag for tags in tags_of.values() for tag in tags)
    made = []
    if given:
        choices = [(say("data.marks.every_rating"), "")]
        for name, (low, high) in BANDS.items():
            count = sum(low < value <= high for value in given.values())
            choices.append((f"{say(f'data.marks.rating.{name}')} ({count:,})", name))
        label = say("data.marks.by_rating")
        made.append(controls.select("rating", label, choices, rating, change="filter", hides_label=True))
    if tagged:
        choices = [(say("data.marks.every_tag"), ""), *((f"{tag} ({n:,})", tag) for tag, n in tagged.most_common())]
        made.append(controls.select("tag", say("data.marks.by_tag"), choices, tag, change="filter", hides_label=True))
    return made


def _said(session: Session, dataset: str) -> Said:
    """Ratings and tags by row; kept until the registry changes, for thousands of marks take a while to settle."""
    key = (session.get_bind(), dataset, jobs.change(session))
    known = _kept.get(key)
    if known is None:
        while len(_kept) >= _MOST_KEPT:
            _kept.pop(next(iter(_kept)), None)
        known = _kept[key] = label_results.ratings_and_tags(session, dataset)
    return known

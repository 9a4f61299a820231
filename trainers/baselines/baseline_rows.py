"""Which rows the untouched model is asked, and what they may be shown: a run's own validation rows, and the others.

    read_rows(dataset, renderer, held, most=50)  ->  Rows(validation=[...], compared=[...], pool=[...])

Validation rows are chosen exactly as `trainers.sft` does: the version's own side, or a share of the rows that can be
trained on. What stands in the pool is trained on, so examples and passages never come from a validation row.
"""

from dataclasses import dataclass
from itertools import islice
from random import Random

from studio.evaluation.baseline import Held, rules
from studio.evaluation.prompts import question_and_answer
from studio.protocol import DatasetRef
from trainers.rows.data import TRAIN, VALIDATION, Findings, Renderer, Sample, conversations, held_out, render_rows

MOST_POOL_ROWS = 20_000
"""Of a larger data set the first ones serve as examples and passages."""

Numbered = list[tuple[int, Sample]]


@dataclass(frozen=True)
class Rows:
    """In the order of the data set."""

    validation: Numbered
    """What a run validates with, up to the most that are scored."""
    num_validation: int
    compared: Numbered
    """Those of them that every prompt is asked."""
    pool: Numbered
    """Rows that a run trains on."""
    is_held_out: bool

    @property
    def is_whole(self) -> bool:
        """No validation row was left aside."""
        return len(self.validation) == self.num_validation


def read_rows(dataset: DatasetRef, renderer: Renderer, held: Held, *, most: int, findings: Findings) -> Rows:
    """The rows, with those that cannot be used in `findings`."""
    own = _usable(dataset, renderer, VALIDATION, held, findings)
    if own:
        chosen, side = own, VALIDATION
    else:
        chosen, side = _held_out(_usable(dataset, renderer, TRAIN, held, findings), held), TRAIN
    most_scored = rules()["most_rows"]
    scored = set(chosen if len(chosen) <= most_scored else Random(held.seed).sample(chosen, most_scored))
    validation = [(row, sample) for row, sample in conversations(dataset, split=side) if row in scored]
    validating = set(chosen)
    others = ((row, sample) for row, sample in conversations(dataset, split=TRAIN) if row not in validating)
    return Rows(
        validation=validation,
        num_validation=len(chosen),
        compared=_sample([each for each in validation if question_and_answer(each[1].messages)], most, held.seed),
        pool=[each for each in islice(others, MOST_POOL_ROWS) if question_and_answer(each[1].messages)],
        is_held_out=side == TRAIN,
    )


def examples_of(pool: Numbered, count: int, seed: int) -> list[list[dict]]:
    """Rows to show before a question, drawn by chance; different answers first, so that classes all have a turn."""
    by_answer: dict[str, list[list[dict]]] = {}
    for _, sample in Random(seed).sample(pool, len(pool)):
        asked, said = question_and_answer(sample.messages)
        shown = [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
        by_answer.setdefault(said, []).append(shown)
    found: list[list[dict]] = []
    for turn in range(count):
        found += [rows[turn] for rows in by_answer.values() if len(rows) > turn][: count - len(found)]
        if len(found) >= count:
            break
    return found


def _usable(dataset: DatasetRef, renderer: Renderer, split: str, held: Held, findings: Findings) -> list[int]:
    rows = conversations(dataset, split=split)
    return [each.row for each in render_rows(rows, renderer, max_length=held.max_length, findings=findings)]


def _held_out(usable: list[int], held: Held) -> list[int]:
    _, chosen = held_out(len(usable), held.validation_split, seed=held.seed)
    return [usable[place] for place in chosen]


def _sample(rows: Numbered, most: int, seed: int) -> Numbered:
    places = Random(seed).sample(range(len(rows)), min(most, len(rows)))
    return [rows[place] for place in sorted(places)]

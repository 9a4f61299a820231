"""How many answers say the same as an answer to another question: what is left when a model writes for the reward.

    alike(["It is 4.", "it is 4"], ["2 + 2", "1 + 5"], ["4", "6"])   ->  1.0
    alike(["positive", "positive"], ["I like it", "Lovely"], ["positive", "positive"])   ->  None: both may be right

Two answers are alike when at least `ALIKE` of their four-letter sequences are the same (Jaccard), whatever the case,
the blanks and the punctuation. Answers to one question, and to questions with the same reference, are not compared.
"""

import re
from collections.abc import Sequence

ALIKE = 0.8
MOST_ANSWERS, MOST_CHARACTERS = 64, 1000
"""So much is looked at, so that a step does not wait for it; of more answers, ones evenly spaced."""
_LETTERS = 4
_BETWEEN = re.compile(r"[\W_]+")


def alike(answers: Sequence[str], questions: Sequence[str], references: Sequence[str | None]) -> float | None:
    """Share of the answers with a like one to another question; None where there is nothing to compare."""
    every = slice(None, None, -(-len(answers) // MOST_ANSWERS) or 1)
    questions, references = questions[every], references[every]
    pieces = [_pieces(answer[:MOST_CHARACTERS]) for answer in answers[every]]
    compared = found = 0
    for place, own in enumerate(pieces):
        others = [
            other
            for at, other in enumerate(pieces)
            if questions[at] != questions[place] and (references[at] is None or references[at] != references[place])
        ]
        compared += bool(others)
        found += any(_is_alike(own, other) for other in others)
    return found / compared if compared else None


def _pieces(text: str) -> frozenset[str]:
    plain = _BETWEEN.sub(" ", text.casefold()).strip()
    if len(plain) <= _LETTERS:
        return frozenset({plain})
    return frozenset(plain[start : start + _LETTERS] for start in range(len(plain) - _LETTERS + 1))


def _is_alike(one: frozenset[str], other: frozenset[str]) -> bool:
    if min(len(one), len(other)) < ALIKE * max(len(one), len(other)):
        return False
    return len(one & other) >= ALIKE * len(one | other)

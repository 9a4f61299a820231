"""The answers that a reward is tried on: good ones, wrong ones, those of a model, and ones that cost nothing to make.

    own          the data's own answer
    wrong        the answer of another row
    sampled      what the base model says, several times a question
    empty        nothing
    constant     the most frequent answer, to every question
    long         one sentence over and over, `LONG_CHARACTERS` of it
    everything   the answers of many rows, one after the other
    question     the question said back

The last five are the trivial ones: a policy finds them within a few steps if they pay.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random

import msgspec

from studio.graders.answers import exact_match
from studio.graders.score import Row

OWN, WRONG, SAMPLED = "own", "wrong", "sampled"
EMPTY, CONSTANT, LONG, EVERYTHING, QUESTION = "empty", "constant", "long", "everything", "question"
TRIVIAL = (EMPTY, CONSTANT, LONG, EVERYTHING, QUESTION)
KINDS = (OWN, WRONG, SAMPLED, *TRIVIAL)
LONG_CHARACTERS = 3000
EVERYTHING_CHARACTERS = 2000
_SENTENCE = {"en": "That depends on many things. ", "zh": "这取决于很多因素。"}
_TRIES = 20


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """One answer that the reward is tried on."""

    kind: str
    row: int
    """Number of its row in the data set."""
    place: int = 0
    """Of several answers of this kind to the same question."""
    text: str


def answers_to_try(rows: Sequence[Row], sampled: Mapping[int, Sequence[str]], *, seed: int = 42) -> list[Tried]:
    """Every answer to try, row by row.

    Args:
        rows: each with a number of its own.
        sampled: row's number -> what the base model answered.
    """
    random = Random(seed)
    known = [row.reference for row in rows if row.reference and row.reference.strip()]
    usual = Counter(known).most_common(1)[0][0] if known else "Yes."
    tried: list[Tried] = []
    for row in rows:
        texts = {OWN: row.reference, WRONG: _wrong(row, known, random), EMPTY: "", CONSTANT: usual}
        texts |= {LONG: _long(row), EVERYTHING: _everything(known, random), QUESTION: row.question}
        tried += [Tried(kind=kind, row=row.number, text=text) for kind, text in texts.items() if text is not None]
        answers = enumerate(sampled.get(row.number, ()))
        tried += [Tried(kind=SAMPLED, row=row.number, place=place, text=text) for place, text in answers]
    return tried


def _wrong(row: Row, known: Sequence[str], random: Random) -> str | None:
    """Another row's answer that is not this one's in other letters; None where chance finds none."""
    if not row.reference or not known:
        return None
    found = (random.choice(known) for _ in range(_TRIES))
    return next((each for each in found if not exact_match(each, row.reference)), None)


def _long(row: Row) -> str:
    sentence = _SENTENCE["zh" if any("\u3400" <= each <= "\u9fff" for each in row.question) else "en"]
    return (sentence * (LONG_CHARACTERS // len(sentence))).strip()


def _everything(known: Sequence[str], random: Random) -> str | None:
    """None where fewer than two answers are known."""
    distinct = list(dict.fromkeys(known))
    if len(distinct) < 2:
        return None
    said = ""
    for each in random.sample(distinct, min(len(distinct), 200)):
        if len(said) + len(each) > EVERYTHING_CHARACTERS:
            break
        said += f"{each}\n"
    return said.strip() or None

"""Rejection sampling: which of a model's answers are kept to learn from, by their rewards.

    choose({7: ["4", "five", "4."]}, {7: [1.0, 0.0, 1.0]}, threshold=0.8, best=1)
        ->  [Choice(7, "4", 1.0, ""), Choice(7, "five", 0.0, "below_threshold"), Choice(7, "4.", 1.0, "not_best")]

Of each question the `best` highest rewards are kept, as far as they reach `threshold`; an answer that says what a
better one says already is not kept again. Dong et al. 2023 (RAFT); KNOWHOW 6 (D).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec

from studio.errors import RefusedInput
from studio.rewards.recipe import Recipe, refuse_unknown

NO_REWARD, BELOW, NOT_BEST, TWICE = "no_reward", "below_threshold", "not_best", "said_twice"
"""Why an answer is not kept; codes below `problems.written`."""
SHARE = 0.8
"""Where no threshold is given: so far from the least reward to the greatest."""
MOST_ANSWERS = 4000
"""Questions times answers to each."""
MOST_PAIRS = 2000
_WORD = re.compile(r"[\u4e00-\u9fff]|\w+")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How many answers are written, and which are kept."""

    rows: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    samples: Annotated[int, msgspec.Meta(ge=1, le=64)] = 4
    """Answers to each question."""
    threshold: float | None = None
    """Least reward of an answer that is kept; None: `SHARE` of the way to the greatest."""
    best: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    """Answers kept of each question, at most."""
    temperature: Annotated[float, msgspec.Meta(gt=0, le=5)] = 1.0
    seconds: Annotated[float, msgspec.Meta(ge=1, le=86_400)] = 1800.0
    """Writing takes no longer; then fewer questions are asked."""
    seed: Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)] = 42


class Choice(msgspec.Struct, frozen=True):
    """One answer to one row's question."""

    row: int
    text: str
    reward: float | None
    code: str = ""
    """Why it is not kept; empty: it is."""


def options(chosen: Mapping[str, Any]) -> Options:
    """
    Raises:
        RefusedInput: an option that there is not, or a value that cannot be.
    """
    for name in chosen:
        refuse_unknown("key", name, Options.__struct_fields__)
    try:
        made = msgspec.convert(dict(chosen), Options)
    except msgspec.ValidationError as error:
        raise RefusedInput("reward.choosing.option", detail=str(error)) from None
    if made.rows * made.samples > MOST_ANSWERS:
        raise RefusedInput("reward.choosing.many_answers", count=made.rows * made.samples, most=MOST_ANSWERS)
    return made


def threshold_of(reward: Recipe, chosen: Options) -> float:
    """The least reward that is kept.

    Raises:
        RefusedInput: no answer can earn so much.
    """
    low, high = reward.range
    if chosen.threshold is None:
        return low + SHARE * (high - low)
    if chosen.threshold > high:
        raise RefusedInput("reward.choosing.threshold", threshold=chosen.threshold, high=high)
    return chosen.threshold


def choose(
    answers: Mapping[int, Sequence[str]], rewards: Mapping[int, Sequence[float | None]], *, threshold: float, best: int
) -> list[Choice]:
    """Every answer, question by question, the highest reward first."""
    found = []
    for row, texts in answers.items():
        # Of equal rewards the shortest comes first: what stands around an answer earns nothing.
        pairs = sorted(zip(texts, rewards[row], strict=True), key=_rank)
        kept: set[str] = set()
        for text, reward in pairs:
            plain = _plain(text)
            if reward is None:
                code = NO_REWARD
            elif reward < threshold:
                code = BELOW
            elif plain in kept:
                code = TWICE
            elif len(kept) >= best:
                code = NOT_BEST
            else:
                kept.add(plain)
                code = ""
            found.append(Choice(row, text, reward, code))
    return found


def variety(texts: Sequence[str]) -> float | None:
    """Different pairs of neighbouring words among all such pairs (distinct-2, Li et al. 2016), in (0, 1].

    The share falls with the amount of text, so no more than `MOST_PAIRS` are looked at, as many of each text. None
    where there is no pair. A Chinese character is a word.
    """
    words = [_WORD.findall(text.casefold()) for text in texts]
    each = max(1, MOST_PAIRS // max(1, len(words)))
    pairs = [pair for said in words for pair in list(zip(said, said[1:], strict=False))[:each]]
    return len(set(pairs)) / len(pairs) if pairs else None


def _rank(pair: tuple[str, float | None]) -> tuple[float, int, str]:
    text, reward = pair
    return (float("inf") if reward is None else -reward, len(text), text)


def _plain(text: str) -> str:
    return " ".join(_WORD.findall(text.casefold())) or text.strip()

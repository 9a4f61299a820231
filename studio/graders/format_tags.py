"""Does the answer have its parts between tags, each once, in their order, and nothing outside?

    tags think, answer    "<think>2+2</think><answer>4</answer>"   ->  1
                          "<think>2+2</think>4"                    ->  0, or 0.25 with partial

`between("<think>2+2</think><answer>4</answer>", "answer")  ->  "4"` is what other graders look at.
"""

import re
from collections.abc import Sequence

import msgspec

from studio.errors import RefusedInput
from studio.graders.score import Row, Score

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    tags: tuple[str, ...] = ("think", "answer")
    partial: bool = False
    """Part of the score for part of the form; else all or nothing."""


def check(options: Options) -> None:
    """
    Raises:
        RefusedInput: no tag, one twice, or a name that cannot stand between < and >.
    """
    if not options.tags or len(set(options.tags)) < len(options.tags):
        raise RefusedInput("reward.no_tags")
    for tag in options.tags:
        if not _NAME.fullmatch(tag):
            raise RefusedInput("reward.bad_tag", tag=tag[:40])


def grade(answers: Sequence[str], rows: Sequence[Row], options: Options) -> list[Score]:
    return [_score(answer, options) for answer in answers]


def between(answer: str, tag: str) -> str | None:
    """What stands between the last such tag and its end; None where there is no pair."""
    opened, closed = f"<{tag}>", f"</{tag}>"
    end = answer.rfind(closed)
    start = answer.rfind(opened, 0, end) if end >= 0 else -1
    return answer[start + len(opened) : end].strip() if start >= 0 else None


def after(answer: str, tag: str) -> str:
    """What follows the last end of such a tag; the whole answer where there is none."""
    return answer.rpartition(f"</{tag}>")[2].strip()


def _score(answer: str, options: Options) -> Score:
    right = [tag for tag in options.tags if _stands_once(answer, tag)]
    wrong = next((tag for tag in options.tags if tag not in right), "")
    if not wrong and _in_order(answer, options.tags):
        return Score(1.0)
    # The parts that are there earn half as much as all of it, so that the whole form is always worth more.
    value = len(right) / len(options.tags) / 2 if options.partial else 0.0
    return Score(value, "tag_wrong" if wrong else "tags_misplaced", wrong)


def _stands_once(answer: str, tag: str) -> bool:
    return answer.count(f"<{tag}>") == answer.count(f"</{tag}>") == 1 and bool(between(answer, tag))


def _in_order(answer: str, tags: Sequence[str]) -> bool:
    """Whether the pairs follow each other with nothing but blanks before, between and behind."""
    rest = answer.strip()
    for tag in tags:
        if not rest.startswith(f"<{tag}>"):
            return False
        rest = rest.partition(f"</{tag}>")[2].lstrip()
    return not rest

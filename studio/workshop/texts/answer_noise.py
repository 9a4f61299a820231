"""Answers that teach nothing, found by looking at an answer, its question and its peers.

    answers: row, field, text, question   ->   Verdict(row=7, field="completion", what="echo", values={})

`answers` is what `studio.workshop.texts.pieces.last_answers` gives. polars looks at every answer; Python only at those
that may be at fault.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from studio.workshop.checks import quality
from studio.workshop.problems import shorten
from studio.workshop.texts.language import languages
from studio.workshop.texts.phrases import phrases
from studio.workshop.texts.spans import is_json

REFUSAL_CHARACTERS = 160
ECHO_BYTES = 12
"""A shorter answer may well be the question's: "Hello" to "Hello"."""
SENTENCE_BYTES = 80
"""A shorter answer may be a name or a number, which ends without a full stop."""
CLOSED_SHARE = 0.8
"""Peers that must end a sentence properly before one that does not is called cut off."""
USUAL_SHARE = 0.05
"""A language that so many answers have is no wrong one."""
SURE = 0.7
"""The detector's score from which on it was right often enough: see tests/bench/languages.py."""

_CLOSED = r"[\p{P}\p{S}\p{Emoji_Presentation}]\s*$"
_OPEN_END = r"(?:[,，、;；:：(（\-–—]|\b(?:and|or|but|the|a|an|of|to|in|with|for|is|are))\s*$"
_LAST_LINE_LIST = r"(?:^|\n)[ \t]*(?:[-*+•|#>]|\d+[.)、])[^\n]*\s*$"
_JSON_START = r'^\s*(?:\{\s*(?:"|\})|\[\s*[\[{"\d])'


@dataclass(frozen=True)
class Verdict:
    row: int
    field: str
    what: str
    """Last part of the finding's code."""
    values: dict[str, Any] = field(default_factory=dict)


def refusals(answers: pl.DataFrame) -> Iterator[Verdict]:
    known = phrases("refusals", "opening")
    opening = pl.col("text").str.slice(0, REFUSAL_CHARACTERS).str.replace_all("’", "'", literal=True)
    suspects = answers.select("row", "field", opening.alias("opening")).filter(
        pl.col("opening").str.contains_any(list(known), ascii_case_insensitive=True)
    )
    for row, place, text in suspects.iter_rows():
        yield Verdict(row, place, "refusals", {"part": shorten(text)})


def cut_off(answers: pl.DataFrame) -> Iterator[Verdict]:
    """Open code fences, open JSON, and ends in mid-sentence where the peers end theirs."""
    told = set()
    for verdict in (*_open_fences(answers), *_open_json(answers), *_open_sentences(answers)):
        if verdict.row not in told:
            told.add(verdict.row)
            yield verdict


def echoes(answers: pl.DataFrame) -> Iterator[Verdict]:
    text, question = pl.col("text"), pl.col("question")
    alike = (text.str.len_bytes().cast(pl.Int64) - question.str.len_bytes().cast(pl.Int64)).abs() <= 8
    suspects = answers.filter((text.str.len_bytes() >= ECHO_BYTES) & alike)
    same = suspects.filter(_bare(text) == _bare(question))
    for row, place in same.select("row", "field").iter_rows():
        yield Verdict(row, place, "echo")


def other_languages(answers: pl.DataFrame, allowed: Iterable[str]) -> Iterator[Verdict]:
    found = pl.concat([answers, languages(answers["text"])], how="horizontal").filter(pl.col("score") >= SURE)
    counts = dict(found["language"].value_counts().iter_rows())
    usual = set(allowed) or {name for name, count in counts.items() if count >= USUAL_SHARE * found.height}
    strange = found.filter(~pl.col("language").is_in(list(usual)))
    asked = languages(strange["question"])
    expected = ", ".join(sorted(usual, key=lambda name: -counts.get(name, 0)))
    for (row, place, name), asked_in in zip(
        strange.select("row", "field", "language").iter_rows(), asked["language"], strict=True
    ):
        if set(allowed) or name != asked_in:
            yield Verdict(row, place, "language", {"language": name, "expected": expected})


def low_quality(answers: pl.DataFrame, least: float, model: str) -> Iterator[Verdict]:
    scored = answers.select("row", "field").with_columns(quality.judged(answers["text"], model))
    low = scored.filter(pl.col("score") < least)
    for row, place, value, reason in low.select("row", "field", "score", "reason").iter_rows():
        yield Verdict(row, place, f"low_quality_{reason}", {"score": round(value, 2), "least": least})


def _bare(text: pl.Expr) -> pl.Expr:
    return text.str.to_lowercase().str.replace_all(r"[^\p{L}\p{M}\p{N}]+", "")


def _open_fences(answers: pl.DataFrame) -> Iterator[Verdict]:
    fences = pl.col("text").str.count_matches("```", literal=True)
    for row, place, text in answers.filter(fences % 2 == 1).select("row", "field", "text").iter_rows():
        yield Verdict(row, place, "cut_off_fence", {"end": _end(text)})


def _open_json(answers: pl.DataFrame) -> Iterator[Verdict]:
    text = pl.col("text")
    suspects = answers.filter(text.str.contains(_JSON_START) & ~text.str.contains(r"[\]}]\s*$"))
    for row, place, answer in suspects.select("row", "field", "text").iter_rows():
        if not is_json(answer) and _open_brackets(answer):
            yield Verdict(row, place, "cut_off_json", {"end": _end(answer)})


def _open_sentences(answers: pl.DataFrame) -> Iterator[Verdict]:
    text = pl.col("text")
    long = answers.filter(text.str.len_bytes() >= SENTENCE_BYTES)
    ended = long.select("row", "field", text.str.tail(120)).with_columns(
        text.str.contains(_CLOSED).alias("closed"), text.str.contains(_OPEN_END).alias("open")
    )
    if not long.height or ended["closed"].mean() < CLOSED_SHARE:
        return
    open_ends = ended.filter((~pl.col("closed") | pl.col("open")) & ~text.str.contains(_LAST_LINE_LIST))
    for row, place, end in open_ends.select("row", "field", "text").iter_rows():
        yield Verdict(row, place, "cut_off", {"end": _end(end), "share": round(100 * ended["closed"].mean())})


def _open_brackets(text: str) -> int:
    """How many brackets are open at the end, those inside strings not counted."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*(?:"|\Z)', "", text)
    return sum(bare.count(opening) - bare.count(closing) for opening, closing in ("{}", "[]"))


def _end(text: str) -> str:
    return shorten("…" + text.rstrip()[-40:])

"""Do the answers look alike? Length, form, opening, language and last sign; the usual named, outliers listed.

    40 answers in JSON, one in prose   ->  forms {"json": 40, "text": 1}, usual_form "json", finding: row 17, form
    "Do it."                           ->  finding: vague, nothing is said of what is wanted

A trait is usual if `usual_share` of the answers have it; where none is, nobody is an outlier.
"""

import math
from typing import Annotated

import msgspec
import polars as pl

from studio.workshop.clean.outcome import MARK
from studio.workshop.found import Findings
from studio.workshop.problems import shorten
from studio.workshop.texts.language import languages
from studio.workshop.texts.phrases import phrases
from studio.workshop.texts.pieces import last_answers, texts_with_fields
from studio.workshop.texts.spans import is_json

JSON, CODE, MARKDOWN, TEXT = "json", "code", "markdown", "text"
SURE = 0.7
OPENING_WORDS, OPENING_CHARACTERS = 3, 6
"""So much of an answer is its opening: words, or characters where words are not spaced."""
MOST_SHOWN = 10
LEAST_ROWS = 20
"""With fewer answers nothing is usual yet."""
SPREAD = 4.0
"""An outlier's distance from the median length, on a log scale, in units of the usual distance."""
CLOSINGS = {
    "period": ".。",
    "exclamation": "!！",
    "question": "?？",
    "colon": ":：",
    "bracket": ")]}）】",
    "fence": "`",
}
_LISTS = r"(?m)^[ \t]*(?:[-*+]|\d+\.)[ \t]+\S|^#{1,6} |\*\*[^*\n]+\*\*|^\|.*\|[ \t]*$"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    usual_share: Annotated[float, msgspec.Meta(ge=0.5, le=1)] = 0.8
    """A form, language, opening or last sign that so many answers have is the usual one."""
    vague: bool = True
    """Look for instructions that do not say what is wanted."""


class Lengths(msgspec.Struct, frozen=True, kw_only=True):
    """Of the answers, in characters."""

    shortest: int
    p5: int
    median: int
    p95: int
    longest: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    rows: int
    """Rows that have an answer."""
    lengths: Lengths | None
    """None without answers."""
    forms: dict[str, int]
    """json, code, markdown, text -> answers."""
    languages: dict[str, int]
    """ISO code -> answers, of those long enough to tell."""
    closings: dict[str, int]
    """What the last sign is -> answers."""
    openings: list[tuple[str, int]]
    """The most frequent openings."""
    usual: dict[str, str]
    """form, language, closing and opening, as far as most answers agree."""
    vague: int
    findings: pl.DataFrame
    """Columns as FINDINGS_SCHEMA, action mark."""


def run(rows: pl.DataFrame, options: Options) -> Report:
    pieces = texts_with_fields(rows)
    answers = last_answers(pieces)
    traits = _traits(answers)
    found = Findings()
    usual = {
        name: value for name in ("form", "language", "closing", "opening") if (value := _usual(traits, name, options))
    }
    for name, value in usual.items():
        _tell_others(traits, name, value, found)
    _tell_lengths(traits, found)
    vague = _tell_vague(pieces, found) if options.vague else 0
    return Report(
        rows=answers.height,
        lengths=_lengths(traits["length"]),
        forms=_counts(traits["form"]),
        languages=_counts(traits["language"]),
        closings=_counts(traits["closing"]),
        openings=list(_counts(traits["opening"]).items())[:MOST_SHOWN],
        usual=usual,
        vague=vague,
        findings=found.frame(),
    )


# -- what each answer is like ----------------------------------------------------------------------------------------


def _traits(answers: pl.DataFrame) -> pl.DataFrame:
    """row, field, text, length, form, language, closing, opening; a trait that cannot be told is null."""
    text = pl.col("text").str.strip_chars()
    last = text.str.tail(1)
    closing = pl.lit("none")
    for name, signs in CLOSINGS.items():
        closing = pl.when(last.is_in(list(signs))).then(pl.lit(name)).otherwise(closing)
    told = languages(answers["text"])
    sure = told.select(pl.when(pl.col("score") >= SURE).then("language").alias("language"))
    return answers.select("row", "field", "text").with_columns(
        length=text.str.len_chars().cast(pl.Int64),
        form=_forms(answers["text"]),
        language=sure["language"],
        closing=closing,
        opening=_opening(text),
    )


def _forms(texts: pl.Series) -> pl.Series:
    text = pl.col("text").str.strip_chars()
    frame = texts.alias("text").to_frame().select(
        pl.when(text.str.contains(r"^[\[{]") & text.str.contains(r"[\]}]$"))
        .then(pl.lit(JSON))
        .when(text.str.contains("```", literal=True))
        .then(pl.lit(CODE))
        .when(text.str.contains(_LISTS))
        .then(pl.lit(MARKDOWN))
        .otherwise(pl.lit(TEXT))
        .alias("form"),
        "text",
    )  # fmt: skip
    forms = [
        TEXT if form == JSON and not is_json(answer) else form
        for form, answer in zip(frame["form"], frame["text"], strict=True)
    ]
    return pl.Series("form", forms, dtype=pl.String)


def _opening(text: pl.Expr) -> pl.Expr:
    head = text.str.slice(0, 120).str.to_lowercase()
    words = head.str.extract(rf"^\W*((?:[^\s,.!?:;，。！？：；]+[ ]?){{1,{OPENING_WORDS}}})")
    unspaced = head.str.extract(rf"^\W*([\p{{Han}}\p{{Hiragana}}\p{{Katakana}}]{{1,{OPENING_CHARACTERS}}})")
    return pl.coalesce(unspaced, words.str.strip_chars())


# -- what is usual, and who is not -----------------------------------------------------------------------------------


def _counts(values: pl.Series) -> dict[str, int]:
    frame = values.drop_nulls().alias("value").to_frame().group_by("value").len()
    return dict(frame.sort(["len", "value"], descending=[True, False]).iter_rows())


def _usual(traits: pl.DataFrame, name: str, options: Options) -> str | None:
    known = traits[name].drop_nulls()
    if known.len() < LEAST_ROWS:
        return None
    value, count = next(iter(_counts(known).items()))
    return value if count >= options.usual_share * known.len() else None


def _tell_others(traits: pl.DataFrame, name: str, usual: str, found: Findings) -> None:
    others = traits.filter(pl.col(name) != usual).select("row", "field", name, "text")
    for row, field, value, text in others.iter_rows():
        found.add(row, f"checks.style.{name}", field, MARK, value=value, usual=usual, part=shorten(text))


def _lengths(lengths: pl.Series) -> Lengths | None:
    if not lengths.len():
        return None
    at = [int(lengths.quantile(share, "nearest")) for share in (0, 0.05, 0.5, 0.95, 1)]
    return Lengths(shortest=at[0], p5=at[1], median=at[2], p95=at[3], longest=at[4])


def _tell_lengths(traits: pl.DataFrame, found: Findings) -> None:
    """Answers whose length is far from the others', measured against the median distance from the median."""
    if traits.height < LEAST_ROWS:
        return
    logs = traits["length"].clip(1).log()
    middle = logs.median()
    spread = max((logs - middle).abs().median() * 1.4826, math.log(1.5))
    far = traits.filter((logs - middle).abs() > SPREAD * spread)
    for row, field, length in far.select("row", "field", "length").iter_rows():
        code = "checks.style.long" if math.log(max(length, 1)) > middle else "checks.style.short"
        found.add(row, code, field, MARK, length=length, median=round(math.exp(middle)))


def _tell_vague(pieces: pl.DataFrame, found: Findings) -> int:
    """First questions that are, as a whole, a phrase of the list `vague`."""
    asked = pieces.filter((pl.col("role") == "user") & (pl.col("text").str.len_chars() <= 60))
    first = pieces.filter(pl.col("role") == "user").group_by("row").agg(pl.col("turn").min())
    bare = pl.col("text").str.to_lowercase().str.replace_all(r"[\p{P}\p{S}]+", " ").str.replace_all(r"\s+", " ")
    bare = bare.str.strip_chars().str.replace(r"^(?:please|can you|could you|请你?|麻烦你?) ?", "")
    bare = bare.str.replace(r" please$|[吧呀啊]$", "")
    vague = asked.join(first, on=["row", "turn"]).filter(bare.is_in(list(phrases("vague", "whole"))))
    for row, field, text in vague.select("row", "field", "text").iter_rows():
        found.add(row, "checks.style.vague", field, MARK, part=shorten(text))
    return vague.height

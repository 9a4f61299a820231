"""Noise: leftovers of web pages, wrongly decoded or invisible characters, and answers that teach nothing.

    "<p>See <b>below</b></p>"          html         ->  "See below\n"
    "schÃ¶n"                           mojibake     ->  "schön"
    "As an AI language model, I ..."   refusals     ->  marked

Every kind has its own option. Code, `<think>` blocks, JSON, and markup in a row that asks for markup stay as they are.
What a mended text would leave empty is only marked. The kinds that look at one text are in
`studio.workshop.texts.markup`, those that look at an answer among its peers in `studio.workshop.texts.answer_noise`.
"""

from typing import Annotated, Literal

import msgspec
import polars as pl

from studio.workshop import table
from studio.workshop.clean.outcome import CHANGE, MARK, REMOVE, Outcome
from studio.workshop.found import Findings, without_removed
from studio.workshop.problems import shorten
from studio.workshop.texts import answer_noise, markup
from studio.workshop.texts.patterns import MAYBE_EMAIL, MAYBE_URL
from studio.workshop.texts.phrases import phrases
from studio.workshop.texts.pieces import last_answers, texts_with_fields
from studio.workshop.texts.spans import apply, protected

OFF, MEND = "off", "mend"
Mendable = Literal["off", "mark", "mend", "remove"]
Markable = Literal["off", "mark", "remove"]

_ASKS_FOR_MARKUP = r"(?i)\b(?:x?html5?|xml|svg|jsx|markup|tags?|css)\b|标签|标记语言|网页代码|前端代码"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What to do with each kind: off, mark it, mend the text, or remove the row."""

    mojibake: Mendable = MEND
    """Wrongly decoded characters, as in schÃ¶n."""
    control: Mendable = MEND
    """Control characters, terminal colours, invisible and zero-width characters."""
    html: Mendable = MEND
    """HTML tags, comments, scripts and entities, unless the row asks for markup."""
    boilerplate: Mendable = MEND
    """Short lines of web pages and advertising; the list is templates/cleaning/phrases/boilerplate.yaml."""
    urls: Mendable = MARK
    """Web addresses."""
    emails: Mendable = OFF
    """E-mail addresses taken out; the step personal_data masks them instead."""
    refusals: Markable = MARK
    """Answers that open with a refusal; the list is templates/cleaning/phrases/refusals.yaml."""
    cut_off: Markable = MARK
    """Answers that end in mid-sentence while the others do not, or with an open code fence or bracket."""
    echo: Markable = MARK
    """Answers that only repeat the question."""
    language: Markable = MARK
    """Answers in a language that is neither their question's nor usual in the data set."""
    languages: tuple[str, ...] = ()
    """ISO codes of the languages that answers may have; empty: found out from the rows."""
    low_quality: Markable = MARK
    """Answers with a quality below the next value."""
    least_quality: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.3
    """0 keeps everything, 1 nothing."""
    quality_model: str = ""
    """File of a classifier trained on keep and drop marks (studio.workshop.checks.quality); empty: heuristics."""


def run(rows: pl.DataFrame, options: Options) -> Outcome:
    found = Findings()
    pieces = texts_with_fields(rows)
    changed = _mend(pieces, options, found)
    rows = table.with_texts(rows, changed)
    if changed.height:
        new = changed.rename({"text": "new"})
        pieces = pieces.join(new, on=["row", "column", "turn"], how="left", maintain_order="left")
        pieces = pieces.with_columns(pl.coalesce("new", "text").alias("text")).drop("new")
    _judge_answers(last_answers(pieces), options, found)
    findings = found.frame()
    return Outcome(without_removed(rows, findings), findings)


# -- single texts ----------------------------------------------------------------------------------------------------


def _mend(pieces: pl.DataFrame, options: Options, found: Findings) -> pl.DataFrame:
    """The changed pieces: row, column, turn, text."""
    kinds = [kind for kind in markup.FINDERS if getattr(options, kind) != OFF]
    changed = []
    for piece in _suspects(pieces, kinds).iter_rows(named=True):
        text = piece["text"]
        for kind in kinds:
            if piece[kind]:
                text = _mended(text, piece, kind, getattr(options, kind), found)
        if text != piece["text"]:
            changed.append((piece["row"], piece["column"], piece["turn"], text))
    schema = {name: table.TEXTS_SCHEMA[name] for name in ("row", "column", "turn", "text")}
    return pl.DataFrame(changed, schema=schema, orient="row")


def _suspects(pieces: pl.DataFrame, kinds: list[str]) -> pl.DataFrame:
    """The pieces that may hold noise, with one flag for each kind."""
    text = pl.col("text")
    suspects = {
        "mojibake": text.str.contains(markup.MAYBE_MOJIBAKE),
        "control": text.str.contains(markup.MAYBE_CONTROL),
        "html": text.str.contains(markup.MAYBE_HTML),
        "boilerplate": text.str.contains_any(list(phrases("boilerplate", "line")), ascii_case_insensitive=True),
        "urls": text.str.contains(MAYBE_URL),
        "emails": text.str.contains(MAYBE_EMAIL),
    }
    flagged = pieces.select("text", *(suspects[kind].alias(kind) for kind in kinds)).select(*kinds)
    some = pl.concat([pieces, flagged], how="horizontal").filter(pl.any_horizontal(*kinds) if kinds else pl.lit(False))
    if "html" not in kinds or not some.height:
        return some
    with_html = some.filter("html")["row"].unique()
    asked = pieces.filter(pl.col("role").is_in(["user", "system"]) & pl.col("row").is_in(with_html.implode()))
    asking = asked.filter(pl.col("text").str.contains(_ASKS_FOR_MARKUP))["row"].unique()
    return some.with_columns(pl.col("html") & ~pl.col("row").is_in(asking.implode()))


def _mended(text: str, piece: dict, kind: str, action: str, found: Findings) -> str:
    """`text` without noise of this kind, where it is to be mended; what was found is told."""
    edits = markup.FINDERS[kind](text, protected(text))
    if not edits:
        return text
    start, end, _ = min(edits)
    values = {"count": len(edits), "part": _visible(text[start:end])}
    new = apply(text, edits)
    code, row, field = f"clean.noise.{kind}", piece["row"], piece["field"]
    if action == MEND and new.strip():
        found.add_change(row, code, field, CHANGE, before=text, after=new, **values)
        return new
    found.add(row, code, field, REMOVE if action == REMOVE else MARK, **values)
    return text


def _visible(part: str) -> str:
    return shorten(part) if part.isprintable() else shorten(ascii(part)[1:-1])


# -- answers among their peers ---------------------------------------------------------------------------------------


def _judge_answers(answers: pl.DataFrame, options: Options, found: Findings) -> None:
    judges = {
        "refusals": lambda: answer_noise.refusals(answers),
        "cut_off": lambda: answer_noise.cut_off(answers),
        "echo": lambda: answer_noise.echoes(answers),
        "language": lambda: answer_noise.other_languages(answers, options.languages),
        "low_quality": lambda: answer_noise.low_quality(answers, options.least_quality, options.quality_model),
    }
    for kind, judge in judges.items():
        action = getattr(options, kind)
        if action != OFF and answers.height:
            for verdict in judge():
                found.add(verdict.row, f"clean.noise.{verdict.what}", verdict.field, action, **verdict.values)

"""New rows for small data sets: the question worded otherwise, the answer as it is.

    1: Where is the cemetery? / Behind the church.
      ->  1 as it was, and 2: Where is the graveyard? / Behind the church.      `origin` "augment:synonyms:1"

Only rows that train are taken up, and new rows only train. The first question of a row is worded anew by English
synonyms (`studio.workshop.texts.synonyms`) or by rules in English and Chinese (`studio.workshop.texts.rephrase`). A
wording that is as good as another row's question, held out or not, is not added. Unlike the other steps this one adds
rows, so no recipe holds it: `studio.workshop.adding.augmenting` makes a version with it.
"""

from collections.abc import Iterator
from random import Random
from typing import Annotated

import msgspec
import polars as pl
from msgspec import Meta

from studio.errors import RefusedInput
from studio.workshop import table
from studio.workshop.adding.added import copied, training_rows
from studio.workshop.clean.outcome import Outcome, no_findings
from studio.workshop.similarity.findings import lines
from studio.workshop.similarity.fresh import fresh
from studio.workshop.texts.language import languages
from studio.workshop.texts.rephrase import rephrasings
from studio.workshop.texts.synonyms import replaced

TOO_MANY_ROWS = 1000
ADD = "add"
"""What a finding says of a row that is new."""
SYNONYMS, REPHRASE = "synonyms", "rephrase"
_ENGLISH = (
    r"(?i)\b(?:the|is|are|was|do|does|did|what|who|how|where|when|why|which|can|could|you|your|i|my|of|to|me|tell)\b"
)
"""One of these makes a text English that is too short for the detector."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How rows are worded anew, and how many."""

    synonyms: bool = True
    """English words in place of others that mean the same."""
    rephrase: bool = True
    """Other ways to ask the same, by rule, in English and Chinese."""
    per_row: Annotated[int, Meta(ge=1, le=5)] = 1
    """New rows made from one row, at most."""
    share: Annotated[float, Meta(gt=0, le=1)] = 1.0
    """Of the rows that train, how many are worded anew."""
    greetings: bool = False
    """Also "Hi, ..." and "... Thanks!"."""
    typing: bool = False
    """Also as many people type: no question mark, a small first letter."""
    similarity: Annotated[float, Meta(ge=0.5, le=1)] = 0.95
    """A question this much like another row's is not added."""
    seed: int = 42


class Wording(msgspec.Struct, frozen=True):
    """A question worded anew."""

    row: int
    column: str
    turn: int
    field: str
    way: str
    """synonyms, or the kind of rule."""
    before: str
    after: str

    @property
    def kind(self) -> str:
        return SYNONYMS if self.way == SYNONYMS else REPHRASE


def run(rows: pl.DataFrame, options: Options, *, above: int = 0) -> Outcome:
    """Add rows.

    Args:
        above: new numbers are above this one, and all in `rows`.

    Raises:
        RefusedInput: 1,000 rows or more, or rows that ask nothing.
    """
    if rows.height >= TOO_MANY_ROWS:
        raise RefusedInput("data.augment.too_many", rows=rows.height, most=TOO_MANY_ROWS)
    if not {"messages", "prompt"} & set(rows.columns):
        raise RefusedInput("data.augment.no_questions")
    wordings = _chosen(rows, options)
    if not wordings:
        return Outcome(rows, no_findings())
    first = 1 + max(above, int(rows["row"].max()))
    added = new_rows(rows, wordings, first)
    told = lines(
        added["row"],
        [f"clean.augment.{wording.kind}" for wording in wordings],
        ADD,
        parent=[wording.row for wording in wordings],
        way=[wording.way for wording in wordings],
        before=[wording.before for wording in wordings],
        after=[wording.after for wording in wordings],
    ).with_columns(pl.Series("field", [wording.field for wording in wordings]))
    return Outcome(pl.concat([rows, added], how="diagonal"), told)


def new_rows(rows: pl.DataFrame, wordings: list[Wording], first: int) -> pl.DataFrame:
    """A copy of each wording's row with its question in place of the old one, numbered from `first`."""
    parents = [wording.row for wording in wordings]
    copies = copied(rows, parents, [f"augment:{wording.kind}:{wording.row}" for wording in wordings], first=first)
    changed = pl.DataFrame(
        {
            "row": copies["row"],
            "column": [wording.column for wording in wordings],
            "turn": [wording.turn for wording in wordings],
            "text": [wording.after for wording in wordings],
        }
    )
    return table.with_texts(copies, changed)


def _chosen(rows: pl.DataFrame, options: Options) -> list[Wording]:
    """At most `per_row` new wordings of each row, in row order, none like another row's question."""
    found = list(_wordings(rows, options))
    asked = table.texts(rows).filter(pl.col("role") == "user")
    is_fresh = fresh(
        asked["text"],
        asked["row"].to_list(),
        pl.Series([wording.after for wording in found], dtype=pl.String),
        [wording.row for wording in found],
        threshold=options.similarity,
    )
    counts: dict[int, int] = {}
    chosen = []
    for wording, is_new in zip(found, is_fresh, strict=True):
        if is_new and counts.get(wording.row, 0) < options.per_row:
            counts[wording.row] = counts.get(wording.row, 0) + 1
            chosen.append(wording)
    return chosen


def _wordings(rows: pl.DataFrame, options: Options) -> Iterator[Wording]:
    """Everything that could be added, the better ways to vary a row first."""
    asked = _questions(training_rows(rows))
    wanted = round(asked.height * options.share)
    picked = set(Random(options.seed).sample(range(asked.height), wanted))
    for place, line in enumerate(asked.iter_rows(named=True)):
        if place not in picked:
            continue
        random = Random(f"{options.seed}:{line['row']}")
        where = (line["row"], line["column"], line["turn"], line["field"])
        for way, text in _ways(line, options, random):
            yield Wording(*where, way, line["text"], text)


def _ways(line: dict, options: Options, random: Random) -> list[tuple[str, str]]:
    """(way, text), in an order drawn at random, one of each way first."""
    asked = line["text"]
    made: list[tuple[str, str]] = []
    if options.synonyms and line["is_english"]:
        other = replaced(asked, keep=line["others"], random=random)
        made += [(SYNONYMS, other)] if other else []
    if options.rephrase:
        ways = rephrasings(asked, greetings=options.greetings, typing=options.typing)
        made += [(way, random.choice(texts)) for way, texts in ways.items()]
    random.shuffle(made)
    return made


def _questions(rows: pl.DataFrame) -> pl.DataFrame:
    """The first question of each row, with the row's other texts and whether it is English."""
    pieces = table.texts(rows)
    pieces = pieces.with_columns(table.fields(pieces, rows)).with_row_index("place")
    first = pieces.filter(pl.col("role") == "user").unique("row", keep="first", maintain_order=True)
    others = (
        pieces.join(first.select("place"), on="place", how="anti")
        .group_by("row")
        .agg(pl.col("text").str.join("\n").alias("others"))
    )
    language = languages(first["text"])["language"]
    is_english = language.eq("en").fill_null(first["text"].str.contains(_ENGLISH))
    asked = first.with_columns(is_english.alias("is_english")).join(others, on="row", how="left", maintain_order="left")
    return asked.with_columns(pl.col("others").fill_null(""))

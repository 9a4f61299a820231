"""Rows with a label, or with one for each word, from a data set version.

    {"prompt": "Where is my parcel?", "completion": "delivery"}         ->  Labelled(messages=[user], label="delivery")
    {"text": "Ann lives in Rome", "tags": ["PER", "O", "O", "LOC"]}     ->  Labelled(words=[...], tags=[...])

A model that answers with a label later gets the question as the chat template shows it, up to where an answer would
begin; a plain text counts as a question. Words are given as they are. No torch here.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from studio.protocol import DatasetRef
from studio.workshop.versions.layout import MESSAGES, PROMPT_COMPLETION, TEXT, TRAINED_COLUMNS, row_of

ANSWER, CATEGORY = "answer", "category"
MOST_LABELS, LONGEST_LABEL = 100, 60
"""More different answers than this, or longer ones (in letters), are no labels."""
_BATCH = 1000


@dataclass(frozen=True, kw_only=True)
class Labelled:
    row: int
    messages: list[dict[str, Any]] = field(default_factory=list)
    """What is to be labelled, without an answer."""
    answer: str | None = None
    category: str | None = None
    words: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    """One for each word; empty where the row has none or another number of them."""


@dataclass(frozen=True, kw_only=True)
class Labels:
    """What labels the rows have."""

    source: str | None
    """answer, category, or None: there are none."""
    sizes: Counter
    """Label -> rows."""
    tags: Counter
    """Tag -> words."""
    tagged: int
    """Rows with a tag for each word."""
    rows: int

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self.sizes))

    @property
    def tag_names(self) -> tuple[str, ...]:
        return tuple(sorted(self.tags))


def label_of(row: Labelled, source: str | None) -> str | None:
    return {ANSWER: row.answer, CATEGORY: row.category}.get(source)


def labelled_rows(dataset: DatasetRef, *, split: str | None) -> Iterator[Labelled]:
    """Every row on this side of the split, in order; `split` None gives all sides. Memory is bounded."""
    import pyarrow.parquet

    from trainers.rows.data import ROWS, TRAIN

    with pyarrow.parquet.ParquetFile(Path(dataset.path) / ROWS) as file:
        there = set(file.schema_arrow.names)
        wanted = ("row", *TRAINED_COLUMNS[dataset.format], "category", "extra", "split")
        for batch in file.iter_batches(_BATCH, columns=[name for name in wanted if name in there]):
            for line in batch.to_pylist():
                if split in (None, line.get("split") or TRAIN):
                    yield _labelled(line, dataset.format)


def count_labels(rows: Iterable[Labelled], wanted: str = "auto") -> Labels:
    """Which labels there are, and where they stand.

    Args:
        wanted: answer, category, or auto: the answers if they are a few short ones, else the categories.
    """
    answers, categories, tags = Counter(), Counter(), Counter()
    number = tagged = 0
    for row in rows:
        number += 1
        tagged += bool(row.tags)
        tags.update(row.tags)
        if row.category is not None:
            categories[row.category] += 1
        if row.answer is not None and len(answers) <= MOST_LABELS:
            answers[row.answer] += 1
    found = {ANSWER: answers if _are_labels(answers, number) else Counter(), CATEGORY: categories}
    sources = [wanted] if wanted != "auto" else [ANSWER, CATEGORY]
    source = next((each for each in sources if 2 <= len(found[each]) <= MOST_LABELS), None)
    sizes = found[source] if source else Counter()
    return Labels(source=source, sizes=sizes, tags=tags, tagged=tagged, rows=number)


def _are_labels(answers: Counter, rows: int) -> bool:
    is_few = len(answers) <= min(MOST_LABELS, max(2, rows // 2))
    return is_few and all(0 < len(each) <= LONGEST_LABEL and "\n" not in each for each in answers)


def _labelled(line: dict[str, Any], format: str) -> Labelled:
    fields = row_of(line, format)
    category, row = line.get("category"), line["row"]
    if format == PROMPT_COMPLETION:
        question = [{"role": "user", "content": fields["prompt"]}]
        return Labelled(row=row, messages=question, answer=fields["completion"].strip(), category=category)
    if format == MESSAGES:
        turns = [{"role": turn["role"], "content": turn["content"]} for turn in fields["messages"]]
        if turns and turns[-1]["role"] == "assistant":
            return Labelled(row=row, messages=turns[:-1], answer=turns[-1]["content"].strip(), category=category)
        return Labelled(row=row, messages=turns, category=category)
    assert format == TEXT, format
    words, tags = _tagged(fields["text"], fields.get("extra"))
    return Labelled(
        row=row, messages=[{"role": "user", "content": fields["text"]}], category=category, words=words, tags=tags
    )


def _tagged(text: str, extra: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Words and tags of a text: words of its column `tokens`, else split at blanks, else its letters."""
    kept = extra if isinstance(extra, dict) else {}
    tags = _listed(kept.get("tags"))
    for words in (_listed(kept.get("tokens")), tuple(text.split()), tuple(text)):
        if tags and len(words) == len(tags):
            return words, tags
    return (), ()


def _listed(value: Any) -> tuple[str, ...]:
    """A column that holds a list, or a list written as JSON."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = value.split()
    return tuple(map(str, value)) if isinstance(value, list) else ()

"""Tokens of what is to be labelled: a question up to where its answer would begin, or words one by one."""

from collections.abc import Mapping, Sequence
from typing import Any

import jinja2

from trainers.rows.data import IGNORED, Renderer, RowLeftOut
from trainers.rows.labelled_rows import Labelled


def read_question(
    renderer: Renderer, row: Labelled, numbers: Mapping[str, int], label: str | None
) -> tuple[list[int], int]:
    """Tokens of a row and the number of its label.

    Raises:
        RowLeftOut: it has no label, one that no row to train on has, or the chat template refuses it.
    """
    if label is None:
        raise RowLeftOut("rows_without_label")
    if label not in numbers:
        raise RowLeftOut("rows_with_new_label")
    try:
        return renderer.prompt(row.messages), numbers[label]
    except jinja2.TemplateError as error:
        raise RowLeftOut("rows_refused_by_template") from error


def read_words(tokenizer: Any, row: Labelled, numbers: Mapping[str, int]) -> tuple[list[int], list[int]]:
    """Tokens of a row's words, and for each the number of its word's tag.

    The tag stands on the last token of its word: a model that reads from left to right has seen the whole word there.

    Raises:
        RowLeftOut: it has no tags, or not one for each word; or one that no row to train on has.
    """
    if not row.tags:
        raise RowLeftOut("rows_without_tags")
    if not set(row.tags) <= numbers.keys():
        raise RowLeftOut("rows_with_new_label")
    ids, ends = tokens_of_words(tokenizer, row.words)
    labels = [IGNORED] * len(ids)
    for end, tag in zip(ends, row.tags, strict=True):
        labels[end] = numbers[tag]
    return ids, labels


def tokens_of_words(tokenizer: Any, words: Sequence[str]) -> tuple[list[int], list[int]]:
    """Tokens, and the place of each word's last one.

    ["Ann", "lives"]  ->  [9051, 4142], [0, 1]; a blank stands before every word but the first
    """
    ids: list[int] = []
    ends = []
    for number, word in enumerate(words):
        own = tokenizer(f" {word}" if number else word, add_special_tokens=False)["input_ids"]
        ids += own or [tokenizer.eos_token_id]
        ends.append(len(ids) - 1)
    return ids, ends

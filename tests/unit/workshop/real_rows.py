"""Real rows: question-answer rows in 28 languages, with categories, and the utterances of 7,168 chats."""

import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import yaml


@cache
def corpus(language: str, *categories: str) -> pl.DataFrame:
    """Rows (`row`, `prompt`, `completion`, `category`) of a language, or of some of its files only."""
    folder = _package("chatterbot_corpus") / "data" / language
    lines = []
    for path in sorted(folder.glob("*.yml")):
        if categories and path.stem not in categories:
            continue
        for turns in yaml.safe_load(path.read_text("utf-8"))["conversations"]:
            lines += [(str(turns[0]), str(answer), path.stem) for answer in turns[1:]]
    frame = pl.DataFrame(lines, schema=["prompt", "completion", "category"], orient="row")
    return frame.with_row_index("row", 1).cast({"row": pl.Int64})


@cache
def utterances() -> list[str]:
    """All 258,145 of them, in the order in which they were said."""
    return [said["text"] for chat in _chats() for turn in chat for said in turn]


def _chats() -> list[list[list[dict[str, str]]]]:
    source = _package("chitchat_dataset") / "dataset.json"
    return [chat["messages"] for chat in json.loads(source.read_text("utf-8")).values()]


def _package(name: str) -> Path:
    return Path(find_spec(name).origin).parent

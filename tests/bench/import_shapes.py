"""CPU seconds of importing each shape of rows, the quick ways against the careful one alone.

    python -m tests.bench.import_shapes [--rows 100000] [--runs 3] [--only alpaca pairs]

The texts are real questions and answers (chatterbot-corpus) and stretches of real chats (chitchat-dataset). The two
ways take turns within one process; the best of each counts.
"""

import argparse
import csv
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any
from unittest.mock import patch

from studio.workshop.versions import build
from tests.bench.import_speed import _chatterbot, chats
from tests.bench.machine import load


def pairs() -> Iterator[dict[str, Any]]:
    """A question of a chat with what is said to it, some 300 characters together."""
    greetings = cycle(_chatterbot())
    for turns in chats():
        (asked, said), texts = next(greetings), [turn["content"] for turn in turns]
        yield {"prompt": f"{asked} {' '.join(texts[::2])}", "completion": f"{said} {' '.join(texts[1::2])}"}


def with_category() -> Iterator[dict[str, Any]]:
    return ({**row, "category": f"c{number % 12}"} for number, row in enumerate(pairs()))


def alpaca() -> Iterator[dict[str, Any]]:
    for row in pairs():
        asked, _, rest = row["prompt"].partition(" ")
        yield {"instruction": asked, "input": rest, "output": row["completion"]}


def sharegpt() -> Iterator[dict[str, Any]]:
    speakers = {"user": "human", "assistant": "gpt"}
    for turns in chats():
        yield {"conversations": [{"from": speakers[turn["role"]], "value": turn["content"]} for turn in turns]}


def chats_with_id() -> Iterator[dict[str, Any]]:
    return ({"id": number, "messages": turns} for number, turns in enumerate(chats()))


SHAPES: dict[str, Callable[[], Iterator[dict[str, Any]]]] = {
    each.__name__: each for each in (pairs, with_category, alpaca, sharegpt, chats_with_id)
}
KINDS = {name: ".jsonl" for name in SHAPES} | {"pairs_csv": ".csv", "pairs_parquet": ".parquet"}


def written(folder: Path, name: str, count: int) -> Path:
    rows = islice(SHAPES[name.split("_csv")[0].split("_parquet")[0]](), count)
    path = folder / f"{name}{KINDS[name]}"
    if path.suffix == ".jsonl":
        with path.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    elif path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, ["prompt", "completion"])
            table.writeheader()
            table.writerows(rows)
    else:
        import polars as pl

        pl.DataFrame(list(rows)).write_parquet(path)
    return path


def spent(source: Path, *, is_quick: bool) -> float:
    folder = source.with_name("version")
    began = time.process_time()
    if is_quick:
        build.import_file(source, folder)
    else:
        with patch.multiple(build, quick_reader=lambda *_: None, reader_of=lambda *_: None):
            build.import_file(source, folder)
    seconds = time.process_time() - began
    shutil.rmtree(folder)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=KINDS, default=list(KINDS))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in asked.only:
            source = written(Path(folder), name, asked.rows)
            runs = [(spent(source, is_quick=True), spent(source, is_quick=False)) for _ in range(asked.runs)]
            quick, careful = (min(each) for each in zip(*runs, strict=True))
            size = source.stat().st_size / 1e6
            ratio = f"{careful / quick:4.1f} x"
            print(f"{name:<14}{size:5.0f} MB {quick:6.2f} s {careful:6.2f} s {ratio}  load {load()}", flush=True)  # noqa: T201
            source.unlink()


if __name__ == "__main__":
    main()

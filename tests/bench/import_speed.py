"""CPU seconds and memory of importing 200,000 chat rows (230 MB), against `datasets.load_dataset` and bare orjson.

    python -m tests.bench.import_speed [--rows 200000] [--runs 3] [--file FILE]
    python -m tests.bench.import_speed --row-checks     only every row check against bare orjson, rounds taken in turn

The rows are stretches of real chats (package chitchat-dataset) and questions with their answers (chatterbot-corpus),
written as `{"messages": [...]}`. Each measured run is a process of its own that imports its modules first; what counts
is the user and system time from then on, all threads together. `load_dataset` gets an empty cache folder each time.
Prints every run, and the ratios of the best ones. The row checks take so little beyond reading that the noise between
two processes hides it: they and orjson go over 10,000 rows in one process, again and again in turn.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count, cycle, islice
from pathlib import Path
from statistics import median

from tests.bench.machine import load

TURNS = (12, 16, 20, 24, 28)
"""Lengths of the stretches, in turn: with chitchat's short utterances rows of some 1,150 bytes on average."""


# -- the file ------------------------------------------------------------------------------------------------------


def write_chats(path: Path, rows: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        for messages in islice(chats(), rows):
            file.write(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")


def chats() -> Iterator[list[dict[str, str]]]:
    """Stretches of real chats that begin with one side and end with the other. Each pass over the chats cuts them
    anew, so that nothing repeats nearby."""
    conversations = [_turns(chat["messages"]) for chat in _chitchat()]
    pairs = cycle(_chatterbot())
    lengths = cycle(TURNS)
    for shift in count():
        for chat in conversations:
            start = shift % 5
            while start < len(chat) - 1:
                length = min(next(lengths), (len(chat) - start) // 2 * 2)
                texts = chat[start : start + length]
                yield [{"role": _ROLES[i % 2], "content": text} for i, text in enumerate(texts)]
                start += length
            yield [{"role": role, "content": text} for role, text in zip(_ROLES, next(pairs), strict=True)]


_ROLES = ("user", "assistant")


def _turns(messages: list[list[dict[str, str]]]) -> list[str]:
    """One text a turn: what a person says in a row belongs together."""
    texts = ("\n".join(part["text"] for part in turn) for turn in messages)
    return [text for text in texts if text.strip()]


def _chitchat() -> list[dict]:
    import chitchat_dataset

    path = Path(chitchat_dataset.__file__).with_name("dataset.json")
    return list(json.loads(path.read_text("utf-8")).values())


def _chatterbot() -> list[tuple[str, str]]:
    import chatterbot_corpus
    import yaml

    pairs = []
    for path in sorted((Path(chatterbot_corpus.__file__).parent / "data" / "english").glob("*.yml")):
        for talk in yaml.safe_load(path.read_text("utf-8"))["conversations"]:
            texts = [str(text) for text in talk]
            pairs += [(a, b) for a, b in zip(texts, texts[1:], strict=False) if a.strip() and b.strip()]
    return pairs


# -- what is measured ----------------------------------------------------------------------------------------------


def bare_orjson(lines: list[bytes]) -> Callable[[], object]:
    import orjson

    def run() -> None:
        for line in lines:
            orjson.loads(line)

    return run


def row_checks(lines: list[bytes]) -> Callable[[], object]:
    """Every check of every row, without writing."""
    from studio.workshop.converting.plain_chats import reader_of
    from studio.workshop.versions.build import BLOCK_LINES

    read = reader_of("chat", {"messages": "messages"}, ["messages"]).read

    def run() -> None:
        for start in range(0, len(lines), BLOCK_LINES):
            assert read(lines[start : start + BLOCK_LINES]) is not None

    return run


def our_import(file: Path) -> Callable[[], object]:

    from studio.workshop.versions.build import import_file

    return lambda: import_file(file, Path(tempfile.mkdtemp(dir=file.parent)) / "v")


def load_dataset(file: Path) -> Callable[[], object]:
    import datasets
    import datasets.packaged_modules.json.json

    datasets.disable_progress_bars()
    cache = tempfile.mkdtemp(dir=file.parent)
    return lambda: datasets.load_dataset("json", data_files=str(file), split="train", cache_dir=cache)


MEASURED = {each.__name__: each for each in (our_import, load_dataset)}
ROUNDS, ROUND_ROWS = 40, 10_000


def compare_row_checks(file: Path) -> None:
    """Prints the CPU microseconds a row and their ratio: best rounds, and medians."""
    with file.open("rb") as opened:
        lines = [line.rstrip(b"\n") for line in islice(opened, ROUND_ROWS)]
    runs, seconds = (bare_orjson(lines), row_checks(lines)), ([], [])
    for _ in range(ROUNDS):
        for run, taken in zip(runs, seconds, strict=True):
            before = time.process_time()
            run()
            taken.append((time.process_time() - before) / len(lines) * 1e6)
    for what, of in (("best", min), ("median", median)):
        orjson, ours = map(of, seconds)
        print(f"row checks: {ours:.2f} µs, orjson {orjson:.2f} µs, {ours / orjson:.2f} x by the {what}, load {load()}")  # noqa: T201


def _measure(name: str, file: Path) -> None:
    """In the child process: prints CPU seconds, wall seconds and peak memory in MiB."""
    run = MEASURED[name](file)
    before, began = _cpu_seconds(), time.perf_counter()
    run()
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([_cpu_seconds() - before, seconds, peak]))  # noqa: T201


def _cpu_seconds() -> float:
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def _in_child(name: str, file: Path) -> tuple[float, float, float]:
    command = [sys.executable, "-m", "tests.bench.import_speed", "--measure", name, "--file", str(file)]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    cpu, seconds, peak = json.loads(result.stdout.splitlines()[-1])
    print(f"{name:<14}{cpu:6.2f} s CPU {seconds:6.2f} s wall {peak:6.0f} MiB peak, load {load()}", flush=True)  # noqa: T201
    return cpu, seconds, peak


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--file", type=Path)
    parser.add_argument("--row-checks", action="store_true")
    parser.add_argument("--measure", choices=MEASURED)
    asked = parser.parse_args()
    if asked.measure:
        _measure(asked.measure, asked.file)
        return
    with tempfile.TemporaryDirectory() as folder:
        file = asked.file or Path(folder) / "chats.jsonl"
        if not file.exists():
            write_chats(file, ROUND_ROWS if asked.row_checks else asked.rows)
        compare_row_checks(file)
        if asked.row_checks:
            return
        print(f"{asked.rows:,} rows, {file.stat().st_size / 1e6:.0f} MB")  # noqa: T201
        runs = {name: [_in_child(name, file) for _ in range(asked.runs)] for name in MEASURED}
    best = {name: min(cpu for cpu, _, _ in runs[name]) for name in runs}
    print(f"import: {best['our_import'] / best['load_dataset']:.2f} x load_dataset, at most 1.5")  # noqa: T201
    print(f"peak of the import: {max(peak for _, _, peak in runs['our_import']):.0f} MiB, at most 300 MB = 286 MiB")  # noqa: T201


if __name__ == "__main__":
    main()

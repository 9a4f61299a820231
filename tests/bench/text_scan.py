"""Noise and personal data in long real chats: our scan against the same patterns in plain `re`, in one process.

    python tests/bench/text_scan.py [--rows 20000] [--characters 1200]

The texts are the real utterances of `chitchat-dataset`, speakers in turn, joined into chats until each row has about so
many characters; all 258,145 are used before any comes again. The plain scan runs each exact pattern of the two steps
over each text and throws the hits away; it mends nothing, checks no digits and lists nothing. Ours is the whole step:
find, check, mend, list. Printed are CPU seconds, best of three, and ratios; then every step with its recommended
options, and scikit-learn's TfidfVectorizer over the same rows.
"""

import argparse
import itertools
import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import chitchat_dataset  # noqa: E402 - the checkout is not on the path before
import polars as pl  # noqa: E402

from studio.workshop import table  # noqa: E402
from studio.workshop.clean import noise, normalise, personal_data, task_schema  # noqa: E402
from studio.workshop.texts import markup, patterns, personal  # noqa: E402
from studio.workshop.texts.phrases import phrases  # noqa: E402

TEXT_KINDS = ("mojibake", "control", "html", "boilerplate", "urls", "emails")
ANSWER_KINDS = ("refusals", "cut_off", "echo", "language", "low_quality")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--characters", type=int, default=1200)
    arguments = parser.parse_args()
    rows = chats(arguments.rows, arguments.characters)
    texts = table.texts(rows)["text"].to_list()
    characters = sum(map(len, texts))
    report(f"{rows.height:,} rows, {len(texts):,} turns, {characters / 1e6:.0f} million characters")
    whole = table.whole_texts(rows)
    report("a text for each turn")
    scans(rows, texts)
    report("a text for each chat")
    scans(whole, whole["text"].to_list())
    spent = steps(rows)
    vectorizer = cpu_seconds(lambda: tfidf(whole["text"].to_list()), times=1)
    report(f"TfidfVectorizer                 {vectorizer:8.2f} s   the steps take {spent / vectorizer:.2f} of it")


def scans(rows: pl.DataFrame, texts: list[str]) -> None:
    """Both ways of looking for noise and personal data."""
    looked_for = {
        "noise": (noise_patterns(), noise.Options(emails="mark", **dict.fromkeys(ANSWER_KINDS, "off")), noise.run),
        "personal data": (personal_patterns(), personal_data.Options(), personal_data.run),
    }
    for name, (exact, options, run) in looked_for.items():
        plain = cpu_seconds(lambda exact=exact: [plain_scan(pattern, texts) for pattern in exact])
        ours = cpu_seconds(lambda run=run, options=options: run(rows, options))
        found = run(rows, options).findings.height
        report(f"{name:14} plain re {plain:8.2f} s   ours {ours:6.2f} s   {plain / ours:5.1f} x   ({found} findings)")


def plain_scan(pattern: re.Pattern[str], texts: list[str]) -> int:
    return sum(1 for text in texts for _ in pattern.finditer(text))


def noise_patterns() -> list[re.Pattern[str]]:
    lines = "|".join(map(re.escape, phrases("boilerplate", "line")))
    return [
        markup._TAG,
        markup._OPENER,
        markup._ENTITY,
        markup._CONTROL,
        markup._DIRECTION,
        markup._JOINER,
        markup._LINK,
        patterns.URL,
        patterns.EMAIL,
        re.compile(markup.MAYBE_MOJIBAKE.replace(r"\x{80}-\x{bf}", "\x80-\xbf")),
        re.compile(lines, re.IGNORECASE),
    ]


def personal_patterns() -> list[re.Pattern[str]]:
    return [
        patterns.EMAIL,
        personal._IBAN,
        personal._CHINESE_ID,
        *personal._CARDS,
        personal._IPV4,
        personal._IPV6,
        *personal._PHONES,
    ]


def steps(rows: pl.DataFrame) -> float:
    """Every step with its own defaults, which are the recommended ones; the seconds of all."""
    total = 0.0
    for step in (task_schema, noise, normalise, personal_data):
        spent = cpu_seconds(lambda step=step: step.run(rows, step.Options()), times=1)
        total += spent
        report(f"step {step.__name__.rsplit('.', 1)[1]:26} {spent:8.2f} s")
    for kind in ANSWER_KINDS:
        off = dict.fromkeys((*TEXT_KINDS, *ANSWER_KINDS), "off") | {kind: "mark"}
        spent = cpu_seconds(lambda off=off: noise.run(rows, noise.Options(**off)), times=1)
        report(f"  of noise, {kind:21} {spent:8.2f} s")
    return total


def tfidf(texts: list[str]) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    TfidfVectorizer().fit_transform(texts)


def chats(count: int, characters: int) -> pl.DataFrame:
    """Format messages."""
    said = itertools.cycle(utterances())
    rows = []
    for _ in range(count):
        turns, length = [], 0
        while length < characters or len(turns) % 2:
            text = next(said)
            turns.append({"role": "assistant" if len(turns) % 2 else "user", "content": text})
            length += len(text)
        rows.append(turns)
    return pl.DataFrame({"row": range(1, count + 1), "messages": rows}, schema_overrides={"row": pl.Int64})


def utterances() -> Iterator[str]:
    """One speaker's lines that follow one another are one turn."""
    talks = json.loads((Path(chitchat_dataset.__file__).parent / "dataset.json").read_text("utf-8"))
    for talk in talks.values():
        for speech in talk["messages"]:
            text = "\n".join(line["text"] for line in speech if line["text"])
            if text:
                yield text


def cpu_seconds(work: Callable[[], object], times: int = 3) -> float:
    """User and system time of all threads, the least of some tries."""
    spent = []
    for _ in range(times):
        begun = time.process_time()
        work()
        spent.append(time.process_time() - begun)
    return min(spent)


def report(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

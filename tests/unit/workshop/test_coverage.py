"""Held-out rows that no training row is like, and their nearest one."""

import msgspec
import numpy as np
import polars as pl
import pytest

from studio.messages import LANGUAGES, say
from studio.workshop.checks.coverage import Options, run
from studio.workshop.clean.outcome import FINDINGS_SCHEMA
from studio.workshop.similarity import vectors as tfidf
from tests.unit.workshop.real_rows import corpus

ROWS = pl.DataFrame(
    [
        (3, "where is my refund", "refund", "train"),
        (4, "when will the refund be paid to me", "refund", "train"),
        (5, "is my refund there", "refund", "test"),
        (6, "how do I bake bread with rye flour in a cold oven", "bread", "test"),
        (7, "zymurgy quixotry", "odd", "validation"),
        (8, "bread when baked in an oven full of steam and ash", "bread", "train"),
    ],
    schema=["row", "text", "category", "split"],
    orient="row",
)


def told(findings: pl.DataFrame) -> list[tuple[int, str, dict]]:
    return [(row, code, msgspec.json.decode(text)) for row, code, text in findings["row", "code", "values"].rows()]


def test_rows_and_categories_that_training_is_not_like_are_named_with_the_nearest() -> None:
    report = run(ROWS, Options(similarity=0.3))
    assert report.findings.schema == FINDINGS_SCHEMA
    (first, second, third, fourth) = told(report.findings)
    assert first[:2] == (6, "checks.coverage.far")
    assert first[2]["nearest"] == 8
    assert 0.1 < first[2]["similarity"] < 0.3
    assert second == (6, "checks.coverage.category", {"category": "bread", "held_out": 1})
    assert third == (7, "checks.coverage.alone", {"side": "validation"})
    assert fourth == (7, "checks.coverage.untrained", {"category": "odd", "held_out": 1})
    assert (report.trained, report.held_out, report.uncovered, report.advised) == (3, 3, 2, (5, 10))
    assert [(each.category, each.trained, each.uncovered) for each in report.categories] == [
        ("bread", 1, 1),
        ("odd", 0, 1),
    ]


def test_a_lower_bar_covers_more() -> None:
    assert run(ROWS, Options(similarity=0.05)).uncovered == 1


@pytest.mark.parametrize("split", [None, "train", "test"])
def test_without_two_sides_there_is_nothing_to_compare(split: str | None) -> None:
    report = run(ROWS.with_columns(split=pl.lit(split, pl.String)), Options())
    assert (report.is_split, report.uncovered, report.findings.height) == (False, 0, 0)
    assert run(ROWS.clear(), Options()).findings.is_empty()


def test_on_real_rows_it_is_what_brute_force_says() -> None:
    rows = corpus("english")
    sides = np.random.default_rng(1).choice(["train", "test"], rows.height, p=[0.8, 0.2])
    vectors = tfidf.of_texts(tfidf.whole(rows))
    weights = vectors.weights[vectors.of_text]
    cosine = (weights[sides == "test"] @ weights[sides == "train"].T).toarray()
    report = run(rows.with_columns(split=pl.Series(sides)), Options(similarity=0.25))
    far = rows.filter(pl.Series(sides == "test"))["row"].to_numpy()[cosine.max(axis=1) < 0.25]
    lines = [line for line in told(report.findings) if line[1] != "checks.coverage.category"]
    assert len(far) > 5
    assert [row for row, _, _ in lines] == far.tolist()
    place = {row: place for place, row in enumerate(rows["row"])}
    for row, _, values in lines:
        found = (weights[[place[row]]] @ weights[[place[values["nearest"]]]].T).sum()
        assert values["similarity"] == pytest.approx(found, abs=1e-4)
        assert sides[place[values["nearest"]]] == "train"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_finding_has_words(language: str) -> None:
    findings = told(run(ROWS, Options(similarity=0.3)).findings)
    assert len({code for _, code, _ in findings}) == 4
    for row, code, values in findings:
        assert str(row) in say(f"problems.{code}", language, row=row, field="", **values)

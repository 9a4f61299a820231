"""What stands on two sides: the same, nearly the same, the same question, or suspiciously alike."""

import msgspec
import numpy as np
import polars as pl
import pytest

from studio.messages import LANGUAGES, say
from studio.workshop.checks.leakage import KINDS, Options, run
from studio.workshop.clean.outcome import FINDINGS_SCHEMA
from studio.workshop.clean.split import Options as SplitOptions
from studio.workshop.clean.split import run as split
from studio.workshop.similarity import vectors as tfidf
from tests.unit.workshop.real_rows import corpus

ANSWER = "Artificial intelligence is the branch of engineering and science devoted to machines that think"
FILLER = [(f"question{place} of its own", f"answer{place} unlike others", "train") for place in range(10)]
ROWS = [
    ("What is AI?", ANSWER, "train"),
    ("what IS ai ?", ANSWER, "test"),  # near: the same words
    ("What is AI?", ANSWER, "validation"),
    ("What is AI?", "Nothing that anybody here could explain", "test"),
    ("What is AI then", ANSWER.replace("machines", "robots"), "test"),
    ("Something else", "altogether", "test"),
    *FILLER,
]


def table(lines: list[tuple[str, str, str]], first: int = 1) -> pl.DataFrame:
    frame = pl.DataFrame(lines, schema=["prompt", "completion", "split"], orient="row")
    return frame.with_columns(row=pl.int_range(first, first + len(lines), dtype=pl.Int64))


def told(findings: pl.DataFrame) -> list[tuple[int, str, int]]:
    return [
        (row, code, msgspec.json.decode(text)["other"]) for row, code, text in findings["row", "code", "values"].rows()
    ]


def test_each_held_out_row_is_told_under_the_gravest_kind() -> None:
    report = run(table(ROWS), Options(suspicious=0.6))
    assert report.is_split
    assert report.findings.schema == FINDINGS_SCHEMA
    assert told(report.findings) == [
        (2, "checks.leakage.near_within", 1),
        (2, "checks.leakage.near_within", 3),
        (3, "checks.leakage.exact_within", 1),
        (4, "checks.leakage.same_prompt_within", 1),
        (4, "checks.leakage.same_prompt_within", 3),
        (5, "checks.leakage.suspicious_within", 1),
        (5, "checks.leakage.suspicious_within", 3),
    ]
    counted = [(each.side, each.against, each.rows, tuple(each.found.values())) for each in report.pairings]
    assert counted == [
        ("validation", "train", 1, (1, 0, 0, 0)),
        ("test", "train", 4, (0, 1, 1, 1)),
        ("test", "validation", 4, (0, 1, 1, 1)),
    ]


def test_the_same_rows_without_a_split_have_nothing_to_leak() -> None:
    report = run(table(ROWS).drop("split"), Options())
    assert (report.is_split, report.pairings, report.findings.height) == (False, [], 0)


def test_against_a_second_data_set_every_row_counts() -> None:
    other = table([("WHAT is ai?", ANSWER, None), ("new", "rows", None)], first=700).drop("split")
    report = run(table(ROWS).drop("split"), Options(), against=other)
    assert not report.is_split
    (pairing,) = report.pairings
    assert (pairing.side, pairing.against, pairing.rows) == ("all", "other", len(ROWS))
    assert told(report.findings)[:3] == [
        (1, "checks.leakage.exact_elsewhere", 700),
        (2, "checks.leakage.near_elsewhere", 700),
        (3, "checks.leakage.exact_elsewhere", 700),
    ]


@pytest.mark.parametrize("language", ["english", "chinese"])
def test_a_split_made_here_does_not_leak_and_one_by_chance_does(language: str) -> None:
    rows = corpus(language)
    clean = run(split(rows, SplitOptions(validation=0.1)).rows, Options())
    assert {sum(each.found[kind] for kind in KINDS[:3]) for each in clean.pairings} == {0}
    by_chance = np.random.default_rng(0).choice(["train", "test"], rows.height, p=[0.9, 0.1])
    leaky = run(rows.with_columns(split=pl.Series(by_chance)), Options())
    assert sum(leaky.pairings[0].found.values()) > 20


def test_every_leak_at_the_threshold_is_found_on_real_rows() -> None:
    rows = corpus("english")
    sides = np.random.default_rng(1).choice(["train", "test"], rows.height, p=[0.8, 0.2])
    vectors = tfidf.of_texts(tfidf.whole(rows))
    weights = vectors.weights[vectors.of_text]
    best = (weights[sides == "test"] @ weights[sides == "train"].T).toarray().max(axis=1)
    (pairing,) = run(rows.with_columns(split=pl.Series(sides)), Options()).pairings
    assert pairing.found["exact"] + pairing.found["near"] == (best >= 0.95 - 1e-9).sum()
    assert 0 < pairing.found["suspicious"] <= ((best >= 0.8) & (best < 0.95)).sum()


def test_empty_texts_and_empty_tables_leak_nothing() -> None:
    assert run(table([("", "", "train"), ("", "", "test")]), Options()).findings.is_empty()
    assert run(table(ROWS).clear(), Options(), against=table(ROWS).clear()).pairings == []


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", ["within", "elsewhere"])
def test_every_finding_has_words(language: str, kind: str, place: str) -> None:
    assert say(f"problems.checks.leakage.{kind}_{place}", language, row=1, other=2, side="train", similarity=0.9)

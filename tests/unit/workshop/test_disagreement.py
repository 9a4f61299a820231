"""Like questions with unlike labels."""

import msgspec
import polars as pl
import pytest

from studio.messages import LANGUAGES, say
from studio.workshop.checks.disagreement import Options, run
from studio.workshop.clean.outcome import FINDINGS_SCHEMA
from tests.unit.workshop.real_rows import corpus

LONG = "Please look at this and say whether it is good: the parcel came late and the box was open"


def table(*rows: tuple[str, str]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema=["prompt", "completion"], orient="row")
    return frame.with_columns(row=pl.int_range(11, 11 + len(rows), dtype=pl.Int64))


def told(findings: pl.DataFrame) -> dict[int, dict]:
    return {row: msgspec.json.decode(values) for row, values in findings["row", "values"].iter_rows()}


def test_both_rows_are_named_each_with_the_other() -> None:
    rows = table(
        (LONG, "bad"), (LONG + "!", "Bad "), (LONG + " then", "good"), ("How are you", "bad"), ("Who are they", "good")
    )
    report = run(rows, Options(similarity=0.8))
    assert report.findings.schema == FINDINGS_SCHEMA
    found = told(report.findings)
    assert (report.compared, report.disagreeing, sorted(found)) == (5, 3, [11, 12, 13])
    assert (found[11]["other"], found[11]["answer"], found[11]["other_answer"]) == (13, "bad", "good")
    assert found[13]["other"] in (11, 12)
    assert 0.8 <= found[13]["similarity"] < 1


def test_the_same_question_with_two_labels() -> None:
    assert sorted(told(run(table((LONG, "bad"), (LONG, "good")), Options()).findings)) == [11, 12]


def test_long_answers_may_differ_in_words() -> None:
    rows = table((LONG, "It is bad because it came late, they say"), (LONG, "good"))
    assert run(rows, Options()).disagreeing == 0
    assert run(rows, Options(max_words=12)).disagreeing == 2


def test_answers_in_good_and_bad_are_labels_too() -> None:
    turns = [[{"role": "user", "content": LONG}]] * 2
    answers = [[{"role": "assistant", "content": "Yes indeed"}]] * 2
    rows = pl.DataFrame({"row": [1, 2], "prompt": turns, "completion": answers, "label": [True, False]})
    assert told(run(rows, Options()).findings)[1] == {
        "other": 2,
        "similarity": 1.0,
        "answer": "true",
        "other_answer": "false",
    }


def test_empty_questions_and_tables_disagree_with_nothing() -> None:
    assert run(table(("", "a"), ("", "b"), ("?!", "c"), ("!?", "d")), Options()).disagreeing == 0
    assert run(table((LONG, "bad")).clear(), Options()).findings.is_empty()


def test_on_real_rows_each_pair_is_one() -> None:
    rows = corpus("english")
    answers = dict(rows.select("row", "completion").iter_rows())
    found = told(run(rows, Options()).findings)
    assert len(found) > 20
    assert all(answers[row] != answers[values["other"]] for row, values in found.items())
    assert all(values["other"] in found for values in found.values())


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_finding_has_words(language: str) -> None:
    for row, values in told(run(table((LONG, "bad"), (LONG, "good")), Options()).findings).items():
        assert values["other_answer"] in say(
            "problems.checks.disagreement.label", language, row=row, field="", **values
        )

"""Consistency of answers: the usual named, outliers listed, vague instructions flagged."""

import polars as pl
import pytest

from studio.workshop.checks.style import Options, Report, run
from tests.unit.workshop.answers import answered, pairs, sentences

PROSE = "The trains leave from the main station in the middle of the city."


def told(report: Report) -> list[tuple[int, str]]:
    return [(row, code.rsplit(".", 1)[1]) for row, code in report.findings.select("row", "code").rows()]


def test_one_json_answer_among_prose_and_one_prose_among_json() -> None:
    report = run(answered(*[PROSE] * 30, '{"station": "main."}'), Options())
    assert report.forms == {"text": 30, "json": 1} and report.usual["form"] == "text"
    assert (31, "form") in told(report)
    report = run(answered(*['{"station": "main"}'] * 30, PROSE), Options())
    assert report.usual["form"] == "json" and (31, "form") in told(report)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("[1, 2]", "json"),
        ("{not json}", "text"),
        ("Run it:\n```\nls\n```", "code"),
        ("- one\n- two", "markdown"),
        ("# Title\ntext", "markdown"),
        ("It is **very** good", "markdown"),
        ("3 - 2 is 1", "text"),
    ],
)
def test_forms(text: str, form: str) -> None:
    assert run(answered(text), Options()).forms == {form: 1}


def test_languages_closings_and_openings() -> None:
    french = "Le train part de la gare principale dans la ville!"
    report = run(answered(*[PROSE] * 30, french), Options())
    assert report.languages == {"en": 30, "fr": 1}
    assert report.closings == {"period": 30, "exclamation": 1}
    assert report.openings == [("the trains leave", 30), ("le train part", 1)]
    assert report.usual == {"form": "text", "language": "en", "closing": "period", "opening": "the trains leave"}
    assert told(report) == [(31, "language"), (31, "closing"), (31, "opening")]


def test_chinese_openings() -> None:
    report = run(answered("当然可以，下面是答案。", "当然可以，请看。"), Options())
    assert report.openings == [("当然可以", 2)]


def test_lengths_far_from_the_others() -> None:
    report = run(answered(*[PROSE] * 30, "No.", PROSE * 20), Options())
    assert report.lengths is not None and report.lengths.median == len(PROSE) and report.lengths.shortest == 3
    assert [(row, code) for row, code in told(report) if code in ("long", "short")] == [(31, "short"), (32, "long")]


def test_with_few_or_mixed_answers_nobody_is_an_outlier() -> None:
    assert told(run(answered(*[PROSE] * 10, '{"a": 1}', "x"), Options())) == []
    mixed = [PROSE, '{"a": 1}'] * 20
    assert "form" not in run(answered(*mixed), Options()).usual


@pytest.mark.parametrize(
    "prompt", ["do it", "Write something.", "Please help!", "写点东西", "请解释一下。", "DO IT!!!"]
)
def test_vague_instructions(prompt: str) -> None:
    report = run(pairs((prompt, "ok")), Options())
    assert report.vague == 1 and told(report) == [(1, "vague")]
    assert run(pairs((prompt, "ok")), Options(vague=False)).vague == 0


@pytest.mark.parametrize(
    "prompt", ["Do it again with the second list: 1, 2, 3", "Explain gravity", "解释一下重力", "Hello"]
)
def test_clear_instructions(prompt: str) -> None:
    assert run(pairs((prompt, "ok")), Options()).vague == 0


def test_only_the_first_question_of_a_conversation_can_be_vague() -> None:
    turns = [("user", "Sum 1 and 2"), ("assistant", "3"), ("user", "explain"), ("assistant", "1 + 2 = 3")]
    rows = pl.DataFrame({"row": [1], "messages": [[{"role": role, "content": text} for role, text in turns]]})
    assert run(rows, Options()).vague == 0


def test_nothing_in_nothing_out() -> None:
    report = run(answered().clear(), Options())
    assert report.rows == 0 and report.lengths is None and report.findings.height == 0


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_finding_has_words(language: str) -> None:
    odd = "Le train part de la gare principale dans la ville, et - **voilà** - il y en a!"
    rows = pl.concat([answered(*[PROSE] * 30, odd, "- a", PROSE * 20), pairs(("do it", "x"))])
    findings = run(rows, Options()).findings
    assert len(set(findings["code"])) == 7 and sentences(findings, language)

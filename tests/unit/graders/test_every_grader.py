"""What all graders promise, whatever the answer: one score each, in the declared range, the same every time."""

import ast
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from studio.graders import declared as graders
from studio.graders.declared import GRADERS, HERE, declared, grade, module, needs, options, options_of
from studio.graders.score import Row, Score
from studio.messages import LANGUAGES, has
from studio.paths import PROJECT_ROOT, TEMPLATES
from studio.rewards.recipe import KEYS

CHOSEN = {
    "label": {"labels": ["yes", "no", "是", "否"]},
    "contains": {"texts": ["yes", "退款"], "how_many": "share"},
    "pattern": {"pattern": r"(?:\w+\s?)+[.!?]?", "match": "anywhere"},
    "json": {"keys": {"a": "number"}, "match": "values"},
    "sql": {"match": "same"},
    "python_checks": {"checks": ["not_empty", "single_line", "is_python", "no_html", "not_the_question"]},
    "reward_model": {"model": "m"},
    "judge_model": {"model": "m"},
}
RUN_HERE = [name for name in GRADERS if declared(name).runs == HERE]
ODD = [
    "",
    " \n\t",
    "yes",
    "是的。",
    "<b>bold</b> &amp; <script>alert(1)</script>",
    '{"a": 1, "b": [null, {"c": "x"}]}',
    "select a from b where c = 'd'",
    "<think>x</think><answer>12 km</answer>",
    "\ud800 half a pair",
    "\x00\x07 control",
    "e\u0301\u200b\u202e reversed",
    "👍🏽" * 50,
    "word " * 60_000,
    "字" * 210_000,
    "(" * 30_000,
    "<think>" * 5000 + "</think>" * 5000,
]
TEXTS = st.one_of(st.sampled_from(ODD[:11]), st.text(max_size=60), st.integers().map(str))


@pytest.mark.parametrize("name", GRADERS)
def test_a_grader_declares_all_that_a_form_needs(name):
    found = declared(name)
    low, high = found.range
    assert low < high and (low, high) in ((0, 1), (-1, 0), (-1, 1))
    assert found.normalisation in ("none", "cut", "scale", "standardise")
    assert found.dimension in ("correctness", "format", "style", "cheating")
    assert set(found.needs) <= set(graders.NEEDS)
    infos = options_of(name)
    assert [info.name for info in infos] == list(found.options)
    assert not set(found.options) & set(KEYS)
    worded = [found.title, found.help]
    for info in infos:
        words = found.options[info.name]
        worded += [words.label, *words.choices.values(), *([words.help] if words.help else [])]
        assert list(words.choices) == list(info.choices)
    assert all(set(each) == set(LANGUAGES) and all(each.values()) for each in worded)


def test_every_file_of_words_is_a_graders():
    files = {path.stem for path in (TEMPLATES / "rewards").glob("*.yaml")} - {"units"}
    assert files == set(GRADERS)


def test_every_reason_has_words():
    """Codes are the literals of `missing(...)`, `passed(..., ...)` and `Score(..., ...)`."""
    codes = set()
    for path in (PROJECT_ROOT / "studio" / "graders").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            name = getattr(getattr(node, "func", None), "id", "")
            if name in ("missing", "passed", "Score"):
                place = node.args[0 if name == "missing" else 1 :][:1]
                codes |= {each.value for part in place for each in ast.walk(part) if isinstance(each, ast.Constant)}
    codes = {code for code in codes if isinstance(code, str) and code.isidentifier() and code[-1] != "_"}
    assert len(codes) > 30
    assert [code for code in sorted(codes | {"no_source"}) if not has(f"reward.why.{code}")] == []


@pytest.mark.parametrize("name", RUN_HERE)
@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_answer_gets_a_score_in_range_or_none_with_a_reason(name, data):
    answers = data.draw(st.lists(TEXTS, max_size=5))
    rows = [Row(question=data.draw(TEXTS), reference=data.draw(st.none() | TEXTS), number=7) for _ in answers]
    chosen = options(name, CHOSEN.get(name, {}))
    scores = grade(name, answers, rows, chosen)
    low, high = declared(name).range
    assert len(scores) == len(answers)
    assert all(each.why != "fault" for each in scores)
    assert all(low <= each.value <= high if each.value is not None else each.why for each in scores)
    assert scores == [grade(name, [answer], [row], chosen)[0] for answer, row in zip(answers, rows, strict=True)]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", RUN_HERE)
def test_odd_and_huge_answers_are_graded_in_no_time(name):
    chosen = options(name, CHOSEN.get(name, {}))
    rows = [Row(question="What?", reference='{"a": 1}' if name == "json" else "select 1", number=1)] * len(ODD)
    if name == "label":
        rows = [Row(reference="yes")] * len(ODD)
    began = time.monotonic()
    scores = grade(name, ODD, rows, chosen)
    assert time.monotonic() - began < 10
    assert all(each.why != "fault" for each in scores)


@pytest.mark.parametrize("name", RUN_HERE)
def test_what_a_grader_needs_is_what_it_misses(name):
    """Without what it says that it needs every score is missing; without the rest none is for that reason."""
    chosen = options(name, CHOSEN.get(name, {}))
    answer = '{"a": 1}' if name == "json" else "Yes, select 12 from the table of the house."
    bare = grade(name, [answer], [Row(question="Where is the railway station?")], chosen)[0]
    assert (bare.value is None) == bool(needs(name, chosen))


def test_a_grader_that_fails_on_a_row_loses_that_row_alone(monkeypatch, caplog):
    found = module("length")

    def fails(answers, rows, chosen):
        if "bad" in answers:
            raise ZeroDivisionError
        return [Score(1.0) for _ in answers]

    monkeypatch.setattr(found, "grade", fails)
    scores = grade("length", ["a", "b", "bad", "c", "d"], [Row()] * 5, options("length", {}))
    assert [each.value for each in scores] == [1, 1, None, 1, 1]
    assert scores[2].why == "fault" and "length failed" in caplog.text


@pytest.mark.parametrize("value", [2.0, -0.1, float("nan"), float("inf")])
def test_a_score_beyond_the_declared_range_is_missing(monkeypatch, value):
    monkeypatch.setattr(module("length"), "grade", lambda answers, rows, chosen: [Score(value)])
    assert grade("length", ["a"], [Row()], options("length", {}))[0] == Score(None, "fault")


def test_the_readme_names_every_file():
    text = (TEMPLATES / "rewards" / "README.md").read_text("utf-8")
    assert [path.name for path in Path(TEMPLATES / "rewards").glob("*.yaml") if f"`{path.name}`" not in text] == []

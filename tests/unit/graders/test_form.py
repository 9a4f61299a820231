"""Graders that look at the form of an answer, and the penalties."""

import time

import pytest

from studio.errors import RefusedInput
from studio.graders import judge_model, reward_model
from studio.graders.declared import grade, options
from studio.graders.format_tags import after, between
from studio.graders.score import Row


def score(name, answer, question="", **chosen):
    return grade(name, [answer], [Row(question=question)], options(name, chosen))[0]


@pytest.mark.parametrize(
    ("answer", "how_many", "value"),
    [
        ("You get a REFUND.", "any", 1),
        ("You get a refund.", "all", 0),
        ("A refund within 14  days.", "all", 1),
        ("You get a refund.", "share", 0.5),
        ("Nothing.", "any", 0),
        ("", "share", 0),
    ],
)
def test_contains(answer, how_many, value):
    assert score("contains", answer, texts=["refund", "14 days"], how_many=how_many).value == value


def test_contains_reads_full_width_letters_as_plain_ones():
    assert score("contains", "可以退款，ＶＩＰ除外", texts=["vip"]).value == 1


def test_pattern():
    assert score("pattern", " AB-123\n", pattern="[A-Z]{2}-[0-9]+").value == 1
    assert score("pattern", "It is AB-123", pattern="[A-Z]{2}-[0-9]+").value == 0
    assert score("pattern", "It is AB-123", pattern="[A-Z]{2}-[0-9]+", match="anywhere").value == 1
    assert score("pattern", "ab-1", pattern="[A-Z]{2}-[0-9]+", ignore_case=True).value == 1
    assert score("pattern", "", pattern=".+").value == 0
    assert score("pattern", "订单123", pattern=r"订单\d+").value == 1


@pytest.mark.parametrize("pattern", ["", "(", "a" * 1001, "(?P<x>", "[z-a]"])
def test_a_pattern_that_is_none_is_refused(pattern):
    with pytest.raises(RefusedInput) as refused:
        options("pattern", {"pattern": pattern})
    assert refused.value.message()


@pytest.mark.timeout(30)
def test_a_pattern_that_takes_for_ever_is_given_up_and_its_scores_are_missing():
    slow = ["a" * 40 + "!"] * 200
    began = time.monotonic()
    found = grade("pattern", ["aaa", *slow], [Row()] * 201, options("pattern", {"pattern": "(?:a|a|aa)+b?"}))
    assert time.monotonic() - began < 8
    assert found[0].value == 1
    assert {each.value for each in found[1:]} == {None}
    assert [found[1].why, found[-1].why] == ["pattern_slow", "pattern_given_up"]


@pytest.mark.parametrize(
    ("words", "chosen", "value"),
    [
        (7, {}, 1),
        (5, {}, 1),
        (60, {}, 1),
        (4, {}, 0),
        (61, {}, 0),
        (0, {}, 0),
        (65, {"slack": 9}, 0.5),
        (70, {"slack": 9}, 0),
        (100_000, {"slack": 9}, 0),
    ],
)
def test_length(words, chosen, value):
    assert score("length", "word " * words, min=5, max=60, **chosen).value == pytest.approx(value)


def test_length_of_chinese_is_in_characters():
    assert score("length", "今天天气很好。", min=6, max=6).value == 1
    assert score("length", "今天天气很好。", min=7, max=7, unit="characters").value == 1


@pytest.mark.parametrize(("words", "value"), [(0, 0), (150, 0), (175, -0.5), (200, -1), (5000, -1)])
def test_length_penalty(words, value):
    assert score("length_penalty", "word " * words, max=200, buffer=50).value == pytest.approx(value)


def test_repetition():
    assert score("repetition", "the cat sat the cat sat the cat sat", n=3, allowed=0).value == pytest.approx(-4 / 7)
    assert score("repetition", "every word is new here", n=3, allowed=0).value == 0
    assert score("repetition", "哈" * 500).value < -0.95
    assert score("repetition", "").value == 0
    assert score("repetition", "no " * 20_000).value < -0.99


@pytest.mark.parametrize(
    ("answer", "value", "partial"),
    [
        ("<think>2+2</think><answer>4</answer>", 1, 1),
        (" <think>2+2</think>\n\n<answer>4</answer>\n", 1, 1),
        ("<think>2+2</think>4", 0, 0.25),
        ("Well, <think>2+2</think><answer>4</answer>", 0, 0.5),
        ("<answer>4</answer><think>2+2</think>", 0, 0.5),
        ("<think><answer>4</answer></think>", 0, 0.5),
        ("<think>2+2</think><answer>4</answer><answer>5</answer>", 0, 0.25),
        ("<think></think><answer>4</answer>", 0, 0.25),
        ("4", 0, 0),
        ("", 0, 0),
        ("<answer>" * 10_000, 0, 0),
    ],
)
def test_format_tags(answer, value, partial):
    assert score("format_tags", answer).value == value
    assert score("format_tags", answer, partial=True).value == partial


def test_what_stands_between_tags():
    assert between("<answer>3</answer> no, <answer> 4 </answer>", "answer") == "4"
    assert between("<answer>4", "answer") is None
    assert between("4</answer>", "answer") is None
    assert after("<think>a</think> b", "think") == "b" and after(" b ", "think") == "b"


GERMAN = "Der Bahnhof liegt gleich hinter der zweiten Straße auf der linken Seite."


@pytest.mark.parametrize(
    ("answer", "wanted", "value", "why"),
    [
        ("The station is on the left, behind the second street.", "en", 1, ""),
        (GERMAN, "en", 0, "other_language"),
        (GERMAN, "de", 1, ""),
        ("车站在第二条街的左边，走五分钟就到了。", "zh", 1, ""),
        ("好的", "zh", 1, ""),
        ("好的", "en", 0, "other_language"),
        ("ok", "en", None, "language_unclear"),
        ("42", "en", None, "language_unclear"),
        ("", "en", 0, "empty"),
    ],
)
def test_language(answer, wanted, value, why):
    found = score("language", answer, language=wanted)
    assert (found.value, found.why) == (value, why)


def test_the_language_of_the_question():
    asked = "Where is the railway station, please?"
    assert score("language", "It is on the left, behind the second street.", question=asked).value == 1
    assert score("language", GERMAN, question=asked).value == 0
    assert score("language", GERMAN, question="?").why == "question_language"


@pytest.mark.parametrize(
    ("check", "holds", "fails"),
    [
        ("not_empty", "x", " \n"),
        ("single_line", "one", "one\ntwo"),
        ("ends_with_stop", "他走了。”", "He left"),
        ("starts_with_capital", "«Yes»", "yes"),
        ("is_integer", "-42", "4.2"),
        ("is_date", "2026-03-31", "2026-02-31"),
        ("is_email", "ann.b@mail.example.com", "ann@"),
        ("no_addresses", "See page 3", "See https://example.com"),
        ("no_html", "a < b and c > d", "<b>bold</b>"),
        ("no_markdown", "a - b", "**bold**"),
        ("no_question_back", "Yes.", "Do you mean this?"),
        ("not_the_question", "Paris", "You ask: WHAT IS IT"),
        ("balanced_brackets", "f(a[1])（对）", "f(a]"),
        ("is_python", "```python\nx = [1]\n```", "x = [1"),
    ],
)
def test_small_checks(check, holds, fails):
    assert score("python_checks", holds, question="what is it", checks=[check]).value == 1
    assert score("python_checks", fails, question="what is it", checks=[check]).value == 0


def test_small_checks_count_by_share_and_name_what_failed():
    found = score("python_checks", "yes", checks=["single_line", "ends_with_stop"])
    assert (found.value, found.why, found.detail) == (0.5, "check_failed", "ends_with_stop")


@pytest.mark.parametrize("text", ["(" * 19_000, "a" + ".b" * 9_000, "-" * 19_000 + "1", "x\0y", "1" * 19_000])
def test_reading_python_survives_what_would_break_a_parser(text):
    assert score("python_checks", text, checks=["is_python"]).value in (0, 1)


def test_no_check_runs_code(tmp_path):
    marker = tmp_path / "ran"
    code = f"open({str(marker)!r}, 'w')"
    assert score("python_checks", code, checks=["is_python"]).value == 1
    assert not marker.exists()


def test_scores_of_models_come_into_a_fixed_range():
    stored = options("reward_model", {"model": "m", "mean": 2.0, "spread": 1.5})
    assert reward_model.normalised(3.5, stored).value == pytest.approx(1 / 3)
    assert reward_model.normalised(1e9, stored).value == 1 and reward_model.normalised(-1e9, stored).value == -1
    assert reward_model.normalised(float("nan"), stored).value is None
    marks = options("judge_model", {"model": "m"})
    assert judge_model.normalised(7, marks).value == pytest.approx(2 / 3)
    assert judge_model.normalised(11, marks).why == "mark_beyond"
    assert judge_model.normalised(None, marks).why == "no_mark"


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("7", 2 / 3),
        ("Score: 7/10", 2 / 3),
        ("The answer is clear. I rate it 7 out of 10.", 2 / 3),
        ("评分：7 分", 2 / 3),
        ("<think>perhaps 3, or 9</think> 7", 2 / 3),
        ("Score: 7. It names 3 of 4 cities.", 2 / 3),
        ("10", 1.0),
        ("7 or 8", None),
        ("11", None),
        ("very good", None),
        ("", None),
        ("version 1.2.3", None),
    ],
)
def test_a_judges_mark_is_read_only_where_it_is_certain(said, value):
    found = judge_model.read(said, options("judge_model", {"model": "m"}))
    assert found.value == (value if value is None else pytest.approx(value))
    assert found.value is not None or found.why in ("no_mark", "mark_beyond")


def test_a_judge_may_name_a_label_and_a_longer_one_is_not_taken_for_its_part():
    chosen = options("judge_model", {"model": "m", "labels": ["wrong", "partly right", "right"]})
    said = ["Right.", "I would say: partly right", "wrong", "right or wrong", "rightly so", ""]
    assert [judge_model.read(each, chosen).value for each in said] == [1.0, 0.5, 0.0, None, None, None]


def test_a_judge_is_asked_in_the_words_of_the_question_or_in_ones_own():
    row = Row(question="Who?", reference="Ann")
    asked = judge_model.asked("Ben", row, options("judge_model", {"model": "m", "criterion": "Is the name right?"}))
    assert all(text in asked for text in ("Who?", "Ann", "Ben", "Is the name right?", "from 1 (worst) to 10 (best)"))
    assert "打 1（最差）到 10（最好）的分" in judge_model.asked(
        "本", Row(question="谁？"), options("judge_model", {"model": "m"})
    )
    own = options("judge_model", {"model": "m", "question": "{question} -> {answer} {other}"})
    assert judge_model.asked("{reference}", row, own) == "Who? -> {reference} {other}"

"""The same row asked in several ways."""

from studio.evaluation import prompts
from studio.evaluation.prompts import Retriever, proposed_system, with_examples, with_passages, with_system
from studio.evaluation.task import task_of

ROW = [
    {"role": "system", "content": "Old."},
    {"role": "user", "content": "One?"},
    {"role": "assistant", "content": "1"},
    {"role": "user", "content": "Two?"},
    {"role": "assistant", "content": "2"},
]
SHOWN = [{"role": "user", "content": "Six?"}, {"role": "assistant", "content": "6"}]


def texts(messages):
    return [turn["content"] for turn in messages]


def test_a_system_prompt_takes_the_place_of_the_rows_own():
    assert texts(with_system(ROW, "New.")) == ["New.", "One?", "1", "Two?", "2"]
    assert texts(with_system(ROW[1:], "New.")) == ["New.", "One?", "1", "Two?", "2"]


def test_examples_stand_before_the_row_and_are_not_learned():
    made = with_examples(ROW, [SHOWN])
    assert texts(made) == ["Old.", "Six?", "6", "One?", "1", "Two?", "2"]
    assert [turn.get("weight") for turn in made if turn["role"] == "assistant"] == [0, None, None]
    assert prompts.question_and_answer(made) == ("Two?", "2")
    assert prompts.question_and_answer(with_examples([ROW[1]], [SHOWN])) is None


def test_passages_stand_with_the_last_question():
    made = with_passages(ROW, ["Twos are even."])
    assert texts(made)[:3] == texts(ROW)[:3] and texts(made)[4] == "2"
    assert "Twos are even." in made[3]["content"] and made[3]["content"].endswith("Two?")
    assert with_passages(ROW, []) == ROW


def test_the_likest_passages_are_found_in_both_languages():
    passages = ["The frame is of steel.", "Chains need oil.", "发货需要三天。", "价格含税。"]
    retriever = Retriever(passages, passages)
    assert retriever.find("How often does a chain need oil?", 1) == ["Chains need oil."]
    assert retriever.find("几天发货？", 1) == ["发货需要三天。"]
    assert retriever.find("zebra", 3) == [] and Retriever([], []).find("oil", 3) == []


def test_a_pasted_text_is_cut_at_paragraphs_and_sentences():
    long = "This is a sentence of some length. " * 40
    found = prompts.passages_of(f"First\nline.\n\n{long}")
    assert found[0] == "First line." and len(found) > 2
    assert all(len(each) <= prompts.PASSAGE_CHARACTERS and each.endswith(".") for each in found)
    assert " ".join(found[1:]) == long.strip() and prompts.passages_of(" \n\n ") == []


def test_the_proposed_system_prompt_says_what_the_rows_want():
    labels = ["yes", "no"] * 20
    proposed = proposed_system(task_of(labels), labels, goal="Is it spam?")
    assert proposed.startswith("Is it spam? ") and "yes, no" in proposed
    people = ['{"name": "Ann"}', '{"name": "Bob"}'] * 10
    assert "name" in proposed_system(task_of(people), people)
    free = [f"亲爱的顾客，您好，您的第{number}封来信我们已经仔细读过，谢谢。" for number in range(20)]
    assert prompts.language_of(free) == "zh"
    chinese = proposed_system(task_of(free), free, language="zh")
    assert "20 个字" in chinese and "以“亲爱的顾”开头" in chinese and prompts.language_of(labels) == "en"

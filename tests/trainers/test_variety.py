"""How much rows differ: templates and duplicates say little of their own, real questions do."""

import pytest

from trainers.rows.data import Sample
from trainers.rows.variety import unknown_markers, variety_of

QUESTIONS = [
    ("How do I change the strings of a violin?", "Loosen one peg at a time, so that the bridge stays where it is."),
    ("What wood is a guitar's top made of?", "Mostly spruce or cedar, split along the grain and planed thin."),
    ("Why does my cello buzz?", "An open seam, a loose fine tuner or a string too low above the fingerboard."),
    ("Wie stimmt man eine Laute?", "Von der höchsten Saite aus, in Quarten mit einer Terz in der Mitte."),
]


def talk(prompt, answer):
    return Sample(messages=[{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}])


def test_rows_of_their_own_a_template_and_duplicates():
    own = [talk(*each) for each in QUESTIONS]
    same = [talk("Name the capital of this country, please.", f"The capital of it is town {i}.") for i in range(40)]
    assert variety_of(own)["variety"] == 1
    assert variety_of(same)["variety"] < 0.1
    assert variety_of(own * 5)["variety"] == 0
    assert variety_of(own + same[:4])["variety"] == 0.5


def test_chinese_rows_are_told_apart_by_their_characters():
    rows = [talk("怎样换小提琴的琴弦？", "一次只松一个弦轴。"), talk("吉他面板用什么木头？", "多半是云杉或雪松。")]
    assert variety_of(rows)["variety"] == 1 and variety_of(rows * 3)["variety"] == 0


@pytest.mark.parametrize(
    ("answer", "share"), [('{"a": 1}', 1), ("```json\n[1, 2]\n```", 1), ("{not json}", 0), ("plain", 0)]
)
def test_answers_that_are_json(answer, share):
    assert variety_of([talk("q", answer)])["json_answers"] == share


def test_nothing_to_tell_of_tokens():
    assert variety_of([Sample(input_ids=[1, 2])]) == {"variety": None, "json_answers": None}


def test_marks_that_the_tokenizer_cuts_into_pieces_are_named():
    class Tokenizer:
        chat_template = "{{ '<|im_start|>' + role }}<|im_end|>"

        def encode(self, text, add_special_tokens):
            return [1] if text == "<|im_end|>" else [1, 2, 3]

    assert unknown_markers(Tokenizer()) == ["<|im_start|>"]

"""Sampled answers become rows to rate, and ratings become preference pairs that a reward model can learn from."""

import pytest

from studio.errors import RefusedInput
from studio.rewards.judged_answers import Judged, marked, pairs, rated, sampled, write_pairs
from studio.rewards.kept import Samples
from studio.workshop.versions.reader import read_manifest, read_rows
from tests.unit.workshop.making import pair, question, version

ASK = [{"role": "user", "content": "6 x 7?"}]


def judged(answer, score, *, is_cheat=False, ask=ASK):
    return Judged(question=ask, answer=answer, score=score, is_cheat=is_cheat)


def said(made):
    return [(each.chosen.answer, each.rejected.answer) for each in made]


def test_of_two_answers_the_higher_rated_is_chosen_if_they_are_far_enough_apart():
    other = [{"role": "user", "content": "1 + 1?"}]
    found = pairs([judged("42", 1.0), judged("41", 0.4), judged("43", 0.3), judged("2", 0.1, ask=other)])
    assert said(found) == [("42", "43"), ("42", "41")], "widest first; 41 and 43 are too near; 2 is another question's"
    assert pairs([judged("42", 0.9), judged(" 42 ", 0.1)]) == [], "the same words are no pair"
    assert pairs([judged("42", 0.9), judged("41", None)]) == [], "nobody rated it"


def test_a_cheat_is_rejected_whatever_it_scored_and_never_chosen():
    found = pairs([judged("42 42 42", 1.0, is_cheat=True), judged("42", 0.8), judged("no", 0.2)])
    assert said(found) == [("42", "42 42 42"), ("42", "no")]
    assert pairs([judged("a", 1.0, is_cheat=True), judged("b", 0.9, is_cheat=True)]) == []


def test_one_question_does_not_fill_the_data():
    assert len(pairs([judged(str(n), n / 10) for n in range(11)])) == 6


def test_samples_become_rows_to_rate_and_their_ratings_pairs_with_lineage(tmp_path):
    parent = version(tmp_path / "v1", [question("6 x 7?"), question("Who?"), question("Why?")])
    samples = Samples(model="small", seconds=1.0, answers={1: ["42", "41", "42", " "], 2: ["Ann"], 9: ["gone"]})
    manifest, counts = sampled(parent, samples, tmp_path / "answers")
    assert (
        counts == {"questions": 2, "answers": 3, "left_out": 2}
        and manifest.parent == read_manifest(parent).content_hash
    )
    rows = read_rows(tmp_path / "answers", start=0, count=9)
    assert [(row.messages[-1]["content"], row.extra["question_row"]) for row in rows] == [
        ("42", 1),
        ("41", 1),
        ("Ann", 2),
    ]
    found = rated(tmp_path / "answers", {1: 0.9, 2: 0.1, 3: 0.5}, cheats=())
    made, told = write_pairs(tmp_path / "answers", found, tmp_path / "pairs", parameters={"round": "first"})
    assert told == {"pairs": 1, "cheats": 0, "answers": 3, "unpaired": 1}
    assert made.format == "preference" and made.parent == manifest.content_hash
    assert made.steps[0].parameters["round"] == "first"
    (row,) = read_rows(tmp_path / "pairs", start=0, count=9)
    assert row.prompt == ASK and (row.chosen[0]["content"], row.rejected[0]["content"]) == ("42", "41")
    assert (row.extra["chosen_score"], row.extra["rejected_score"], row.extra["is_cheat"]) == (0.9, 0.1, False)
    with pytest.raises(RefusedInput) as refused:
        write_pairs(tmp_path / "answers", found[2:], tmp_path / "none", parameters={})
    assert refused.value.code == "reward.no_pairs"


def test_marks_of_a_trial_become_pairs_beside_the_datas_own_answer(tmp_path):
    parent = version(tmp_path / "v1", [pair("6 x 7?", "42"), pair("Who?", "Ann")])
    marks = [
        {"row": 1, "answer": "forty-two", "rating": "good"},
        {"row": 1, "answer": "42 42 42", "rating": "cheat"},
        {"row": 2, "answer": "Ben", "rating": "bad"},
    ]
    found = pairs(marked(parent, marks))
    assert said(found) == [("forty-two", "42 42 42"), ("Ann", "Ben")]
    assert pairs(marked(parent, marks[:1])) == [], "two good answers are no pair"

"""Which of several like rows stays, and which rows are not alike after all."""

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.messages import LANGUAGES, say
from studio.workshop.clean.duplicates import Options, run
from studio.workshop.clean.outcome import FINDINGS_SCHEMA, MARK, REMOVE
from studio.workshop.similarity import vectors as tfidf
from studio.workshop.similarity.join import SLACK
from tests.examples import examples
from tests.unit.workshop.real_rows import corpus

ANSWER = "Artificial intelligence is the branch of engineering and science devoted to machines that think"


def pairs(*rows: tuple[str, str], **columns: list) -> pl.DataFrame:
    prompts, completions = zip(*rows, strict=True)
    return pl.DataFrame({"row": range(1, len(rows) + 1), "prompt": prompts, "completion": completions, **columns})


def removed(rows: pl.DataFrame, **options: object) -> dict[int, int]:
    """Row -> the row that stays for it."""
    findings = run(rows, Options(**options)).findings.filter(pl.col("action") == REMOVE)
    return {row: msgspec.json.decode(values)["kept"] for row, values in findings.select("row", "values").iter_rows()}


def told(findings: pl.DataFrame) -> list[tuple[int, str, dict]]:
    return [(row, code, msgspec.json.decode(text)) for row, code, text in findings["row", "code", "values"].rows()]


def test_tech_support_has_ten_distinct_rows_in_1050() -> None:
    rows = corpus("english", "tech_support")
    outcome = run(rows, Options())
    assert (rows.height, outcome.rows.height) == (1050, 10)
    assert outcome.findings.filter(pl.col("code") == "clean.duplicates.exact").height == 1040
    assert outcome.rows["row"].to_list() == sorted(outcome.rows["row"])


def test_exact_and_near_are_told_apart_and_name_the_row_that_stays() -> None:
    rows = pairs(("What is AI?", ANSWER), ("what  IS ai?", ANSWER), ("What is AI", ANSWER + " well"), ("Else", "Other"))
    outcome = run(rows, Options(similarity=0.9))
    assert outcome.rows["row"].to_list() == [1, 4]
    assert outcome.findings.schema == FINDINGS_SCHEMA
    (_, exact, first), (_, near, second) = told(outcome.findings)
    assert (exact, first) == ("clean.duplicates.exact", {"kept": 1, "similarity": 1.0, "size": 3})
    assert (near, second["kept"]) == ("clean.duplicates.near", 1)
    assert 0.9 <= second["similarity"] < 1
    assert outcome.rows.equals(rows[[0, 3]])


def test_only_exact_ones_if_asked() -> None:
    rows = pairs(("What is AI?", ANSWER), ("What is AI?", ANSWER), ("What is AI", ANSWER + "!"))
    assert removed(rows, near=False) == {2: 1}


@pytest.mark.parametrize(
    ("keep", "stays"),
    [("first", 1), ("longest", 2), ("highest_rated", 3)],
)
def test_which_row_stays_is_a_choice(keep: str, stays: int) -> None:
    rows = pairs(
        ("What is AI?", ANSWER),
        ("What is AI?!?!", ANSWER + " ..."),
        ("What is AI?", ANSWER),
        extra=['{"stars": 2}', None, '{"stars": "4.5"}'],
    )
    assert set(removed(rows, keep=keep, rating="stars").values()) == {stays}


@pytest.mark.parametrize("extra", [['{"rating": true}', '{"rating": "nan"}'], [None, '{"rating": [3]}']])
def test_a_rating_that_is_no_number_counts_for_nothing(extra: list) -> None:
    assert removed(pairs(("a b", "c"), ("a b", "c"), extra=extra), keep="highest_rated") == {2: 1}


def test_one_question_with_two_answers_is_marked_and_stays() -> None:
    long_text = " ".join(f"sentence {place} of a long review" for place in range(60))
    rows = pairs((long_text, "positive"), (long_text, "negative"), (long_text, "Positive!"), ("other", "positive"))
    outcome = run(rows, Options())
    assert outcome.rows["row"].to_list() == [1, 2, 4]
    assert told(outcome.findings.filter(pl.col("action") == MARK)) == [
        (1, "clean.duplicates.same_prompt", {"other": 2, "answers": 2, "size": 2}),
        (2, "clean.duplicates.same_prompt", {"other": 1, "answers": 2, "size": 2}),
    ]
    assert run(rows, Options(same_prompt=False)).findings["action"].to_list() == [REMOVE]


def test_the_same_text_with_another_label_stays() -> None:
    turn = [{"role": "user", "content": "Same question"}]
    answer = [{"role": "assistant", "content": "Same answer"}]
    rows = pl.DataFrame(
        {"row": [1, 2, 3], "prompt": [turn] * 3, "completion": [answer] * 3, "label": [True, False, True]}
    )
    assert removed(rows) == {3: 1}


def test_chosen_and_rejected_the_other_way_round_stays() -> None:
    def turns(role: str, text: str) -> list[dict[str, str]]:
        return [{"role": role, "content": text}]

    good, bad = turns("assistant", "clear and short"), turns("assistant", "rambling about everything")
    rows = pl.DataFrame(
        {
            "row": [1, 2, 3],
            "prompt": [turns("user", "How?")] * 3,
            "chosen": [good, bad, good],
            "rejected": [bad, good, bad],
        }
    )
    assert removed(rows) == {3: 1}


def test_the_same_words_with_another_tool_call_stay() -> None:
    def chat(call: str) -> list[dict]:
        return [
            {"role": "user", "content": "Do it", "tool_calls": None},
            {"role": "assistant", "content": None, "tool_calls": call},
        ]

    rows = pl.DataFrame({"row": [1, 2, 3], "messages": [chat('["a"]'), chat('["b"]'), chat('["a"]')]})
    assert removed(rows) == {3: 1}


def test_rows_that_are_tokenised_already() -> None:
    rows = pl.DataFrame({"row": [1, 2, 3], "input_ids": [[5, 6, 7], [5, 6, 8], [5, 6, 7]], "labels": [[1], [1], [1]]})
    assert removed(rows) == {3: 1}


def test_in_a_long_chain_no_row_goes_for_one_that_it_is_not_like() -> None:
    words = [f"w{place}" for place in range(60)]
    rows = pl.DataFrame({"row": range(40), "text": [" ".join(words[start : start + 20]) for start in range(40)]})
    outcome = run(rows, Options(similarity=0.9))
    sizes = {values["size"] for _, _, values in told(outcome.findings)}
    assert sizes == {40}
    assert 2 < outcome.rows.height < 40
    check_promise(rows, 0.9)


TEXTS = st.lists(st.sampled_from(["a", "b", "c", "d", "e e e", "f"]), min_size=1, max_size=10).map(" ".join)


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=25))
def test_what_stays_is_unlike_and_what_goes_is_like_what_stays(texts: list[str]) -> None:
    check_promise(pl.DataFrame({"row": range(len(texts)), "text": texts}), 0.8)


@pytest.mark.parametrize("language", ["english", "chinese", "hindi"])
def test_the_same_on_real_rows(language: str) -> None:
    rows = corpus(language)
    texts = rows.select("row", (pl.col("prompt") + "\n" + pl.col("completion")).alias("text"))
    check_promise(texts, 0.95)


def check_promise(rows: pl.DataFrame, threshold: float) -> None:
    found = tfidf.of_texts([rows["text"]])
    weights = found.weights[found.of_text]
    cosine = (weights @ weights.T).toarray()
    place = {row: place for place, row in enumerate(rows["row"])}
    outcome = run(rows, Options(similarity=threshold))
    stays = [place[row] for row in outcome.rows["row"]]
    among = cosine[stays][:, stays]
    among[range(len(stays)), range(len(stays))] = 0
    assert among.max(initial=0) < threshold - SLACK
    for row, _, values in told(outcome.findings):
        assert cosine[place[row], place[values["kept"]]] >= threshold - 2 * SLACK
        assert place[values["kept"]] in stays
    assert outcome.rows.height + outcome.findings.height == rows.height


def test_doing_it_again_finds_nothing_more_and_an_empty_table_is_fine() -> None:
    rows = corpus("english", "tech_support")
    again = run(run(rows, Options()).rows, Options()).findings
    assert again.filter(pl.col("action") == REMOVE).is_empty()
    assert run(rows.clear(), Options()).findings.is_empty()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_finding_has_words(language: str) -> None:
    rows = pairs(
        ("What is AI?", ANSWER), ("What is AI?", ANSWER), ("What is AI", ANSWER + " well"), ("What is AI?", "No")
    )
    findings = run(rows, Options(similarity=0.9)).findings
    assert findings["code"].n_unique() == 3
    for row, code, values in told(findings):
        assert str(row) in say(f"problems.{code}", language, row=row, field="", **values)

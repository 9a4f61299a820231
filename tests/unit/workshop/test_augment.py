"""New wordings keep the answer and whatever must not change; they train only, and each tells where it came from."""

import json
from random import Random

import polars as pl
import pytest

from studio.errors import RefusedInput
from studio.workshop import reports
from studio.workshop.adding import augmenting
from studio.workshop.clean import augment, split
from studio.workshop.similarity.fresh import fresh
from studio.workshop.table import load
from studio.workshop.texts.rephrase import rephrasings
from studio.workshop.texts.synonyms import FOLDER, compounds, replaced, table
from studio.workshop.versions.reader import read_manifest, read_rows
from tests.unit.workshop.making import chat, pair, version
from tests.unit.workshop.real_rows import corpus

DRINKS = ("tea", "coffee", "cocoa", "milk", "beer", "wine")


def run(*pairs, **options):
    rows = pl.DataFrame(
        [(number, *each) for number, each in enumerate(pairs, 1)], schema=["row", "prompt", "completion"], orient="row"
    ).cast({"row": pl.Int64})
    return augment.run(rows, augment.Options(**options))


def new(outcome):
    return outcome.rows.filter(pl.col("origin").is_not_null())["prompt"].to_list() if outcome.findings.height else []


def every_synonym(text, keep=""):
    return {replaced(text, keep=keep, random=Random(seed), most=1) for seed in range(20)}


# -- synonyms --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "others"),
    [
        ("Where is the cemetery?", {"Where is the graveyard?"}),
        ("Where are the cemeteries?", {"Where are the graveyards?"}),
        ("Who is providing the food?", {"Who is supplying the food?"}),
        ("He disappeared.", {"He vanished."}),
        ("Usually I walk.", {"Normally I walk."}),
        ("It was an enormous dog.", {"It was a tremendous dog."}),
        ("Is that a car?", {"Is that an automobile?"}),
    ],
)
def test_a_word_is_replaced_in_its_form_with_its_article(text, others):
    assert every_synonym(text) == others


@pytest.mark.parametrize(
    "text",
    [
        "Run `buy car` now",
        "```\nbuy car\n```",
        '{"car": "buy"}',
        "Say 'buy a car'!",
        "It is at https://car.example/buy",
        "Ask Mr Doctor.",
        "My CAR is a car-to-car thing, car2 and the_car",
        "What is your phone number?",
        "Do you have cell phones?",
        "How do you spell cemetery?",
        "What does movie mean?",
        "{car} and <car>",
    ],
)
def test_code_names_quotations_and_texts_about_words_stay(text):
    assert every_synonym(text) == {None}


def test_a_word_that_the_answer_takes_up_stays():
    assert every_synonym("A film or a book?", keep="A film.") == {None}
    assert new(run(("Shall it be the film or the book?", "The film."), rephrase=False)) == []


def test_french_words_that_look_english_stay():
    assert new(run(("Il ne vient pas car il est malade et il a perdu la nation", "Bien."), rephrase=False)) == []


def test_the_table_is_small_and_whole():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 500_000
    assert len(table()) > 300
    for form, others in table().items():
        assert others and form not in others and all(other.isalpha() and other.islower() for other in others)
    assert all(len(pair.split()) == 2 for pair in compounds())
    assert "Princeton University" in (FOLDER / "LICENSE").read_text()


# -- rephrasing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "way", "other"),
    [
        ("What is the capital of France?", "indirect", "Could you tell me what the capital of France is?"),
        ("Who were the first settlers?", "indirect", "Can you tell me who the first settlers were?"),
        ("How do I reset my password?", "indirect", "Could you tell me how to reset my password?"),
        ("Which tea is best?", "polite", "Please tell me: which tea is best?"),
        ("Can you write a poem?", "request", "Please write a poem."),
        ("List three fruits.", "request", "Could you list three fruits?"),
        ("I do not like it", "spelling", "I don't like it"),
        ("What’s the hardest rock?", "spelling", "What is the hardest rock?"),
        ("怎么重置密码？", "polite", "请问怎么重置密码？"),
        ("第一颗人造卫星叫什么?", "polite", "能否告诉我第一颗人造卫星叫什么？"),
        ("写一首关于春天的诗。", "request", "能否帮我写一首关于春天的诗？"),
    ],
)
def test_the_same_is_asked_otherwise(text, way, other):
    assert other in rephrasings(text)[way]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I feel sad.",
        "Hello!",
        "How are you?",
        "你好吗？",
        "我今天很难过。",
        "Great film. What is the best part?",
        "First line\nWhat is it?",
        '{"question": "What is it?"}',
        "Could you please help me?",
        "请问怎么走？",
        "Was ist das?",
        "word " * 60 + "?",
    ],
)
def test_what_is_no_single_question_or_is_polite_already_stays(text):
    assert rephrasings(text) == {}


@pytest.mark.parametrize(
    "text",
    ["Where is the tower located?", "What is the sky made of?", "What is the cat doing?", "What is this worth?"],
)
def test_a_question_that_cannot_be_turned_round_is_not(text):
    assert "indirect" not in rephrasings(text)


def test_cannot_is_not_put_before_its_subject():
    assert "spelling" not in rephrasings("Why can't you eat?")


def test_greetings_and_typing_only_where_asked_for():
    asked = "Who invented tea?"
    assert rephrasings(asked).keys() == {"polite"}
    assert rephrasings(asked, greetings=True)["greeting"][0] == "Hi, who invented tea?"
    assert rephrasings(asked, typing=True)["typing"][-1] == "who invented tea"


# -- the step --------------------------------------------------------------------------------------------------------


def test_a_new_row_has_its_parents_answer_category_and_mark():
    rows = pl.DataFrame(
        {
            "row": [4, 9],
            "prompt": ["Where is the cemetery?", "ok"],
            "completion": ["Here.", "ok"],
            "category": ["place", "b"],
            "extra": ['{"id": 4}', None],
            "split": ["train", "train"],
            "origin": pl.Series([None, None], dtype=pl.String),
        }
    )
    made = augment.run(rows, augment.Options(rephrase=False), above=20)
    assert made.rows.head(2).equals(rows)
    assert made.rows.row(2, named=True) == {
        "row": 21,
        "prompt": "Where is the graveyard?",
        "completion": "Here.",
        "category": "place",
        "extra": None,
        "split": "train",
        "origin": "augment:synonyms:4",
    }
    told = made.findings.row(0, named=True)
    assert (told["row"], told["code"], told["field"], told["action"]) == (21, "clean.augment.synonyms", "prompt", "add")
    assert (told["before"], told["after"]) == ("Where is the cemetery?", "Where is the graveyard?")
    assert json.loads(told["values"]) == {"parent": 4, "way": "synonyms"}


def test_only_training_rows_of_the_source_are_parents():
    rows = pl.DataFrame(
        {
            "row": [1, 2, 3, 4],
            "prompt": ["Who invented tea?", "Who invented coffee?", "Who invented cocoa?", "Who invented milk?"],
            "completion": ["a", "b", "c", "d"],
            "split": ["train", "test", "validation", "train"],
            "origin": [None, None, None, "augment:rephrase:9"],
        }
    )
    made = augment.run(rows, augment.Options(per_row=5))
    added = made.rows.filter(pl.col("row") > 4)
    assert set(added["origin"]) == {"augment:rephrase:1"} and set(added["split"]) == {"train"}


def test_a_wording_that_another_row_has_is_not_added():
    rows = [("Where is the cemetery?", "Here."), ("Where is the graveyard?", "There.")]
    assert new(run(*rows, rephrase=False)) == []


def test_new_texts_are_unlike_the_known_and_each_other():
    known = pl.Series(["Where is it?", "Who are you?"])
    wanted = pl.Series(["who are you", "Where is it", "where  is it?", "Where is it?", "When was that?"])
    assert fresh(known, [1, 2], wanted, [1] * 5) == [False, True, False, False, True]


def test_the_same_seed_makes_the_same_rows_and_another_one_others():
    rows = corpus("english", "trivia").unique("prompt", maintain_order=True)
    first, again, other = (augment.run(rows, augment.Options(seed=seed)) for seed in (1, 1, 2))
    assert first.rows.equals(again.rows) and first.findings.equals(again.findings)
    assert not first.rows.equals(other.rows)


def test_real_questions_get_new_wordings_and_their_answers_stay():
    rows = corpus("english", "trivia").unique("prompt", maintain_order=True)
    made = augment.run(rows, augment.Options(per_row=2))
    added = made.rows.filter(pl.col("row") > rows["row"].max())
    assert added.height > rows.height / 2
    assert added["row"].is_unique().all()
    answers = dict(rows.select("row", "completion").iter_rows())
    for line in added.iter_rows(named=True):
        assert line["completion"] == answers[int(line["origin"].rpartition(":")[2])]
    parents = made.rows["origin"].drop_nulls().str.extract(r"(\d+)$")
    assert parents.value_counts()["count"].max() == 2


def test_share_and_number_of_wordings_are_kept():
    rows = [(f"Who invented {word}?", "x") for word in (*DRINKS, "soup", "bread", "salt", "oil")]
    assert len(new(run(*rows, share=0.5))) == 5
    assert len(new(run(*rows, synonyms=False, rephrase=False))) == 0


def test_the_first_question_of_a_conversation_is_worded_anew(tmp_path):
    first = version(tmp_path / "v1", [chat("Where is the cemetery?", "Here.", "Where is the car?", "There.")])
    manifest, counts = augmenting.augment(first, {"rephrase": False}, tmp_path / "v2")
    assert (manifest.rows, counts, manifest.steps[-1].operation) == (2, {"synonyms": 1}, "augment")
    row = read_rows(tmp_path / "v2", start=1, count=1)[0]
    assert [turn["content"] for turn in row.messages] == [
        "Where is the graveyard?",
        "Here.",
        "Where is the car?",
        "There.",
    ]
    (found,) = reports.read_changes(tmp_path / "v2", start=0, count=9, step="augment", action="add")
    assert (found.row, found.field, found.before) == (2, "messages[0].content", "Where is the cemetery?")
    assert "row 1" in found.message() and "第 1 条" in found.message("zh")


def test_new_rows_stay_in_training_when_split_again(tmp_path):
    words = (*DRINKS, "soup", "bread", "salt", "oil", "corn", "rice", "rye", "oats")
    first = version(
        tmp_path / "v1", [pair(f"Who invented {word}?", f"{word} it was") for word in words], problems={3: "x"}
    )
    augmenting.augment(first, {}, tmp_path / "v2")
    rows = load(tmp_path / "v2")
    assert rows["row"].to_list() == [1, 2, *range(4, 30)]
    sides = split.run(rows, split.Options(test=0.3)).rows
    assert set(sides.filter(pl.col("origin").is_not_null())["split"]) == {"train"}


def test_a_thousand_rows_and_rows_without_questions_are_refused(tmp_path):
    many = version(tmp_path / "many", [pair(f"Q{n}", "A") for n in range(1000)])
    with pytest.raises(RefusedInput, match="under 1000 rows") as refused:
        augmenting.check(many, {})
    assert refused.value.code == "data.augment.too_many" and "1000" in refused.value.message("zh")
    with pytest.raises(RefusedInput, match="under 1000 rows"):
        augment.run(load(many), augment.Options())
    with pytest.raises(RefusedInput, match="no questions"):
        augment.run(pl.DataFrame({"row": [1], "text": ["a"]}), augment.Options())
    small = version(tmp_path / "small", [pair("ok", "ok")])
    with pytest.raises(RefusedInput, match="No row could"):
        augmenting.augment(small, {}, tmp_path / "v2")
    with pytest.raises(RefusedInput, match="per_row"):
        augmenting.check(small, {"per_row": 9})
    assert read_manifest(small).rows == 1

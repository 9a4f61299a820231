"""Noise is found and mended; code, thoughts, generics and markup that was asked for are not touched."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.workshop.clean.noise import Options, run
from studio.workshop.clean.outcome import FINDINGS_SCHEMA
from studio.workshop.texts import spans
from tests.examples import examples
from tests.unit.workshop.answers import answered, codes, pairs, sentences

ALL_MENDED = Options(urls="mend", emails="mend")


def mended(answer: str, options: Options = ALL_MENDED, prompt: str = "Q?") -> str:
    return run(pairs((prompt, answer)), options).rows["completion"][0]


@pytest.mark.parametrize(
    ("noisy", "clean"),
    [
        ("<p>See <b>below</b></p>", "See below\n"),
        ('<div class="x">a</div><br/>b', "a\n\nb"),
        ("Fish &amp; chips &lt;3", "Fish & chips <3"),
        ("<script>alert(1)</script>Hello<!-- hidden -->", "Hello"),
        ("schÃ¶n", "schön"),
        ("It\u00e2\u20ac\u2122s fine", "It\u2019s fine"),
        ("a\u200bb\ufeffc\x07", "abc"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("看这里\u200b吧", "看这里吧"),
        ("See https://a.example.org/x?y=1. Bye", "See. Bye"),
        ("Read [the guide](https://a.org/g) now", "Read the guide now"),
        ("Write to li.lei@qq.com, please", "Write to, please"),
        ("写信到li@qq.com吧", "写信到吧"),
        ("Text.\nClick here to subscribe to our list!\nMore.", "Text.\nMore."),
        ("正文。\n扫码关注我们\n还有。", "正文。\n还有。"),
    ],
)
def test_noise_is_mended(noisy: str, clean: str) -> None:
    assert mended(noisy) == clean


@pytest.mark.parametrize(
    "text",
    [
        "List<int> xs; a < b && c > d; Map<String, List<b>> m",
        "<think>maybe <b>this</b> &amp; https://a.org</think>Yes",
        "```html\n<p>https://a.org me@b.org schÃ¶n</p>\n```",
        "Use `<b>x</b>` or `me@b.org` here",
        "    <p>indented code</p>",
        '{"html": "<p>x</p>", "mail": "me@b.org"}',
        "if a <b and c> d: <b of old>",
        "👨‍👩‍👧 ❤️ नमस्\u200dते می\u200cخواهم",
        "\u0645\u0631\u062d\u0628\u0627 \u200fabc\u200e",
        "Das schöne Äpfelchen ñandú Ünïcode façade €5 – “ok”",
        "AT&T & co; R&D; x &y;",
        "git@ and @name and 5@7",
    ],
)
def test_what_is_no_noise_stays(text: str) -> None:
    outcome = run(pairs(("Q?", text)), ALL_MENDED)
    assert outcome.rows["completion"][0] == text
    assert codes(outcome.findings) == []


def test_markup_stays_in_a_row_that_asks_for_it() -> None:
    markup = "<p>Hi</p>"
    rows = pairs(("Write an HTML paragraph", markup), ("Say hi", markup), ("写一段XML标签", markup))
    assert run(rows, Options()).rows["completion"].to_list() == [markup, "Hi\n", markup]


TEXT = st.text(st.sampled_from(list('ab <>/&;.\n\u200b\x07Ã¶é@:`~{}"pdivhtps')), max_size=60)
CODE = st.one_of(
    TEXT.map(lambda text: "```\n" + text.replace("`", "") + "\n```"),
    TEXT.map(lambda text: "`" + (text.replace("`", "").replace("\n", "") or "x") + "`"),
    TEXT.map(lambda text: "<think>" + text.replace("`", "").replace("~", "").replace("<", "") + "</think>"),
)


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(st.tuples(TEXT, CODE), min_size=1, max_size=3))
def test_code_comes_out_as_it_went_in(parts: list[tuple[str, str]]) -> None:
    text = "".join(free.replace("`", "").replace("~", "") + "\n" + code + "\n" for free, code in parts)
    new = mended(text)
    kept = [text[start:end] for start, end in spans.protected(text)]
    assert len(kept) >= len(parts)
    place = 0
    for part in kept:
        place = new.index(part, place) + len(part)


def test_every_kind_can_be_off_marked_mended_or_removed() -> None:
    rows = answered("<p>a</p> b", "fine answer")
    assert codes(run(rows, Options(html="off")).findings) == []
    marked = run(rows, Options(html="mark"))
    assert codes(marked.findings) == [(1, "html", "mark")] and marked.rows.equals(rows)
    removed = run(rows, Options(html="remove"))
    assert codes(removed.findings) == [(1, "html", "remove")] and removed.rows["row"].to_list() == [2]
    changed = run(rows, Options(html="mend")).findings
    assert changed.select("action", "field", "before", "after").row(0) == (
        "change",
        "completion",
        "<p>a</p> b",
        "a\n b",
    )


def test_a_text_that_would_end_up_empty_is_only_marked() -> None:
    outcome = run(answered("https://a.org"), ALL_MENDED)
    assert codes(outcome.findings) == [(1, "urls", "mark")]
    assert outcome.rows["completion"][0] == "https://a.org"


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry, but I can't assist with that request.",
        "As an AI language model, I don't have opinions.",
        "I\u2019m sorry, but I can\u2019t do that.",
        "很抱歉，我无法提供这方面的信息。",
    ],
)
def test_a_refusal_is_marked(answer: str) -> None:
    assert codes(run(answered(answer, "I can't believe it works!"), Options()).findings) == [(1, "refusals", "mark")]


LONG = "This is a whole sentence that goes on for a good while, so that it is long enough to be judged by its end."


def test_an_answer_cut_off_among_whole_ones() -> None:
    rows = answered(*[LONG] * 8, LONG[:-9], "Steps:\n" + LONG + "\n- one last item without a stop", "Paris")
    assert codes(run(rows, Options(low_quality="off")).findings) == [(9, "cut_off", "mark")]


def test_peers_that_never_close_a_sentence_are_not_cut_off() -> None:
    assert codes(run(answered(*[LONG[:-1]] * 8), Options()).findings) == []


def test_open_fences_and_brackets() -> None:
    rows = answered(
        '```python\nprint("hi")', '{"a": [1, 2, {"b": "c', '{"a": 1}', "```\nok\n```", "[1] is a footnote mark"
    )
    found = codes(run(rows, Options()).findings)
    assert found == [(1, "cut_off_fence", "mark"), (2, "cut_off_json", "mark")]


def test_an_answer_that_only_repeats_the_question() -> None:
    rows = pairs(("What is the capital?", "what is the capital"), ("Hello", "Hello"), ("What is it?", "It is Paris."))
    assert codes(run(rows, Options(echo="remove")).findings) == [(1, "echo", "remove")]


def test_an_answer_in_another_language_than_all_others_and_its_question() -> None:
    english = [("Where do trains leave from?", "The trains leave from the main station in the city.")] * 30
    french = ("Where is it?", "Le train part de la gare principale dans la ville.")
    translated = ("Traduis la phrase suivante en bon français courant", "Le train part de la gare principale.")
    code = ("Show it", "```python\nfor wagen in züge: print(wagen.abfahrt_vom_hauptbahnhof)\n```")
    found = run(pairs(*english, french, translated, code, ("ok?", "oui")), Options(cut_off="off"))
    assert codes(found.findings) == [(31, "language", "mark")]
    only_french = run(pairs(french, english[0]), Options(languages=("fr",)))
    assert codes(only_french.findings) == [(2, "language", "mark")]


def test_repetition_symbols_and_nothing_at_all() -> None:
    rows = answered("ha " * 200, "#$%^&*()!@#$ %^&*() a", "...", LONG, "好的。", "3.14")
    assert codes(run(rows, Options()).findings) == [
        (1, "low_quality_repetition", "mark"),
        (2, "low_quality_symbols", "mark"),
        (3, "low_quality_empty", "mark"),
    ]


def test_a_conversation_is_mended_turn_by_turn() -> None:
    turns = [{"role": "user", "content": "<p>Hi</p> you"}, {"role": "assistant", "content": "He\u200bllo"}]
    rows = pl.DataFrame({"row": [4], "messages": [turns], "category": ["x"]})
    outcome = run(rows, Options())
    assert [turn["content"] for turn in outcome.rows["messages"][0]] == ["Hi\n you", "Hello"]
    assert outcome.findings["field"].to_list() == ["messages[0].content", "messages[1].content"]
    assert outcome.rows.columns == rows.columns


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_finding_has_words(language: str) -> None:
    noisy = [
        "<p>a</p> b",
        "schÃ¶n",
        "a\u200bb",
        "x https://a.org",
        "x me@b.org",
        "ha " * 200,
        "...",
        "#$%^&*()!@#$ %^&*() a",
    ]
    noisy += ["Text\nall rights reserved", "As an AI language model, no", "```\nx", '{"a": [1', *[LONG] * 8, LONG[:-9]]
    rows = pl.concat(
        [
            answered(*noisy),
            pairs(("What is the capital?", "what is the capital")).with_columns(row=pl.lit(99, pl.Int64)),
        ]
    )
    options = Options(emails="mark", languages=("fr",))
    findings = run(rows, options).findings
    assert len(set(findings["code"])) == 15
    assert len(sentences(findings, language)) == findings.height


def test_nothing_in_nothing_out() -> None:
    empty = answered().clear()
    outcome = run(empty, Options())
    assert outcome.rows.equals(empty) and outcome.findings.schema == pl.Schema(FINDINGS_SCHEMA)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("part", ["<!--", "<script>", "<a b=", "` ", "``a ", "[a](", "http://", "<think>", "a@a.", "{"])
def test_a_hostile_text_takes_no_longer_than_another(part: str) -> None:
    assert run(answered(part * 40_000), ALL_MENDED).rows.height == 1

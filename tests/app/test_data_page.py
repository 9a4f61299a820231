"""The data page's handlers on a real registry, with real prepare jobs: what a person sees from upload to version 3."""

import json
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import gradio as gr
import pytest

from app import dataset_view as view
from app.context import Context
from app.data import following, importing, problems
from app.gradio_apps import in_a_loop
from app.pages import data
from studio.db import datasets
from studio.errors import Conflict
from studio.opening import open_studio
from studio.paths import SAMPLES, Workspace
from studio.paths import workspace as workspace_at
from studio.workshop.versions.reader import Row
from tests.app.data_page import IMPORT, Page, event, imported


@pytest.fixture(scope="module", name="context")
def fixture_context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    """One studio for most tests here, each of which imports data sets of its own."""
    opened = open_studio(workspace_at(tmp_path_factory.mktemp("studio") / "luthier"))
    yield Context("en", opened.desk, opened.registry)
    opened.close()


@pytest.fixture
def empty(workspace: Workspace) -> Iterator[Context]:
    """A studio without a data set."""
    opened = open_studio(workspace)
    yield Context("en", opened.desk, opened.registry)
    opened.close()


def built(context: Context) -> gr.Blocks:
    with gr.Blocks() as blocks:
        data.build(context)
    return blocks


def looked(context: Context, path: Path) -> dict:
    return dict(zip(("name", *IMPORT), importing.look(context, str(path)), strict=True))


def chosen(context: Context, path: Path, before: dict, do: str, **fields: str) -> dict:
    values = importing.choose(context, event(do, fields), str(path), before["chosen"])
    return dict(zip(IMPORT, values, strict=True))


def test_the_empty_page_teaches_and_opens_the_import(empty: Context):
    page = Page(empty)
    assert page["import"]["visible"] and not page["left"]["visible"] and not page["panel"]["visible"]
    assert page["job"] is None


def test_the_page_builds_in_both_languages_without_holding_a_connection(context: Context):
    for language in ("en", "zh"):
        blocks = in_a_loop(built, Context(language, context.desk, context.registry))
        config = blocks.get_config_file()
        assert "state" not in {component["type"] for component in config["components"]}
        assert not any(function.types_generator for function in blocks.fns.values())
        ids = {component["props"].get("elem_id") for component in config["components"]}
        panels = {f"data-{tab.name}" for tab in data.TABS}
        assert panels | {"data-file", "data-import", "data-sample", "data-title", "data-datasets"} <= ids
        assert "data.tab." not in json.dumps(config, ensure_ascii=False, default=str)  # no key without words


def test_from_upload_to_a_mended_and_trimmed_data_set(context: Context):
    page = imported(context, SAMPLES / "broken" / "broken_line.jsonl")
    assert page["name"] == "shop" and page["progress"]["visible"] is False
    assert "6 rows" in page["title"] and "2 with problems" in page["title"]
    assert "What is the warranty" in page.shown("rows")
    shown = page.tab("problems")
    assert "Row 4 ends too early" in shown and "Row 6" in shown

    page.press("problems", "save", {"raw": '{"prompt": "x"'}, row=4)
    assert "Row 4 ends too early" in page.shown("problems") and page["name"] == "shop"
    fixed = json.dumps({"prompt": "Can I cancel?", "completion": "Yes."})
    page.press("problems", "save", {"raw": fixed}, row=4)
    assert "version 2" in page["title"] and "7 rows" in page["title"] and "1 row mended" in page["title"]
    assert "Can I cancel?" in page.tab("rows")

    page.tab("problems")
    page.press("problems", "exclude", row=6)
    assert "no problems" in page["title"] and "1 excluded" in page["title"]
    assert "Rows taken out: 1" in page.shown("problems") and "Bring all back" in page.shown("problems")
    page.press("problems", "back_kind", kind_="excluded:empty_answer")
    assert "version 4" in page["title"] and "1 with problems" in page["title"]

    page.undo(3)
    assert "version 3" in page["title"] and "version 4 is newer" in page["title"]
    page.undo(4)
    assert "1 with problems" in page["title"] and "brought back" in page["title"]


def test_all_rows_of_a_kind_are_fixed_with_one_press(context: Context, tmp_path: Path):
    good = [{"messages": [{"role": "user", "content": f"q{n}"}, {"role": "gpt", "content": f"a{n}"}]} for n in range(4)]
    odd = [{"messages": [{"role": "usr", "content": f"z{n}"}, {"role": "gpt", "content": "a"}]} for n in range(3)]
    odd.append({"messages": [{"role": "usr", "content": ""}, {"role": "gpt", "content": "a"}]})
    path = tmp_path / "odd.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in good + odd), "utf-8")
    page = imported(context, path, "odd")
    shown = page.tab("problems")
    page.press("problems", "unfold", kind="open:unknown_role_hint")
    assert f"at byte {len(''.join(json.dumps(row) + chr(10) for row in good)):,} of the file" in page.shown("problems")
    assert "Misspelt speaker" in shown and "<del>" in shown and "Fix all like this (4)" in shown
    page.press("problems", "fix_all", kind_="open:unknown_role_hint")
    assert "7 rows" in page["title"] and "3 rows are being mended; 1 like them" in page.shown("problems")
    assert "needs a person" in page.shown("problems") or "need a person" in page.shown("problems")
    page.press("problems", "exclude_kind", kind_="open:empty_turn")
    assert "no problems" in page["title"]


def test_exclude_everything_and_deep_links(context: Context):
    imported(context, SAMPLES / "broken" / "speakers.jsonl", "first")
    imported(context, SAMPLES / "chat.en.jsonl", "second")
    page = Page(context, dataset="first", tab="problems")
    assert page["name"] == "first" and page["tab"] == "problems"
    page.press("problems", "exclude_all")
    assert "3 excluded" in page["title"] and "no problems" in page["title"]
    assert [each.index("first") for each in [page["listed"]]] and "second" in page["listed"]
    page = Page(context, dataset="third")
    assert "no data set “third”" in page["title"]
    page = Page(context, dataset="second", tab="rows", row="12")
    assert 'data-row="12"' in page.shown("rows") and 'data-row="11"' not in page.shown("rows")


def test_rows_are_paged_searched_filtered_and_gone_to(context: Context, tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    rows = [
        {"prompt": f"Question {n}", "completion": "Yes", "category": "even" if n % 2 == 0 else "odd"} for n in range(60)
    ]
    path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    page = imported(context, path, "paged")
    assert "1–10 of 60" in page.shown("rows")
    page.press("rows", "forward")
    assert "11–20 of 60" in page.shown("rows") and "Question 10" in page.shown("rows")
    page.press("rows", "filter", {"category": "odd", "search": ""})
    assert "1–10 of 30" in page.shown("rows") and "Question 2<" not in page.shown("rows")
    page.press("rows", "search", {"search": "QUESTION 31", "category": "odd"})
    assert page.shown("rows").count("<article") == 1
    page.press("rows", "search", {"search": "<b>nothing", "category": ""})
    assert "No row is like that" in page.shown("rows") and "<b>nothing" not in page.shown("rows")
    page.press("rows", "go", {"go": "45"})
    assert page.shown("rows").index('data-row="45"') < page.shown("rows").index('data-row="46"')
    page.press("rows", "back")
    assert 'data-row="35"' in page.shown("rows")


def test_a_row_is_edited_by_its_turns_and_the_source_follows(context: Context):
    page = imported(context, SAMPLES / "sharegpt.en.json", "turns")
    page.press("rows", "edit", row=1)
    assert "Save" in page.shown("rows") and "<textarea" in page.shown("rows")
    page.press("rows", "save_turns", {"messages.1": "A better answer."}, row=1)
    assert "A better answer." in page.shown("rows") and "&quot;value&quot;: &quot;A better answer.&quot;" in page.shown(
        "rows"
    )
    assert "1 row mended" in page["title"]
    page.press("rows", "save_turns", {"messages.1": " "}, row=1)
    assert "empty" in page.shown("rows") and "version 2" in page["title"], "an unusable row is refused at once"


def test_unknown_columns_get_their_parts_by_hand(context: Context):
    path = SAMPLES / "broken" / "wrong_keys.jsonl"
    seen = looked(context, path)
    assert not seen["import"]["interactive"] and "promt, reply" in seen["reading"]
    seen = chosen(context, path, seen, "shape", shape="prompt_completion")
    assert not seen["import"]["interactive"] and 'name="column.0"' in seen["reading"]
    seen = chosen(context, path, seen, "columns", **{"shape": "prompt_completion", "column.0": "prompt"})
    assert not seen["import"]["interactive"] and "not said which column" in seen["reading"], seen["reading"]
    both = {"shape": "prompt_completion", "column.0": "prompt", "column.1": "completion"}
    seen = chosen(context, path, seen, "columns", **both)
    assert seen["import"]["interactive"] and "How heavy is the Birch 26?" in seen["preview"]
    page = Page(context)
    page.take([*importing.start_import(context, str(path), "named", seen["chosen"]), *data._values()]).followed()
    assert "8 rows" in page["title"]
    twice = {"shape": "prompt_completion", "column.0": "prompt", "column.1": "prompt"}
    assert not chosen(context, path, seen, "columns", **twice)["import"]["interactive"]


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.[jc]s*")), ids=lambda path: path.name)
def test_every_sample_is_recognised_with_its_columns(context: Context, path: Path):
    seen = looked(context, path)
    assert seen["import"]["interactive"] and "Recognised as" in seen["reading"] and "<article" in seen["preview"]
    assert 'name="column.0"' in seen["reading"] and "data." not in seen["reading"].replace("data-", "")


def test_counter_examples_are_named(context: Context, tmp_path: Path):
    path = tmp_path / "mixed.jsonl"
    lines = [{"prompt": f"q{n}", "completion": "a"} for n in range(20)] + [{"other": 1, "thing": 2}]
    path.write_text("\n".join(json.dumps(line) for line in lines), "utf-8")
    reading = looked(context, path)["reading"]
    assert "95 %" in reading and "Row 21 looks different: it has other, thing" in reading and "UTF-8" in reading


def test_rows_that_are_hardly_like_any_shape_are_not_called_recognised(context: Context, tmp_path: Path):
    path = tmp_path / "mixed.jsonl"
    lines = [{"prompt": f"q{n}", "completion": "a"} for n in range(4)] + [{"other": n, "thing": 2} for n in range(6)]
    path.write_text("\n".join(json.dumps(line) for line in lines), "utf-8")
    seen = looked(context, path)
    assert "Closest to" in seen["reading"] and "Recognised" not in seen["reading"]
    assert "cannot be used as they are" in seen["reading"]


def test_a_chat_log_of_two_people_says_who_becomes_what_and_is_mended_in_one_press(context: Context, tmp_path: Path):
    """Chats of chitchat-dataset: lists of what one of two people, named by a number, wrote in a row."""
    whole = Path(find_spec("chitchat_dataset").origin).with_name("dataset.json")
    path = tmp_path / "chats.json"
    path.write_text(json.dumps(dict(list(json.loads(whole.read_text("utf-8")).items())[:200])), "utf-8")
    seen = looked(context, path)
    assert "Recognised as chat logs of two people (100 %" in seen["reading"]
    assert "Who writes first becomes the user" in seen["reading"] and "timestamp" in seen["reading"]
    assert '<option value="dialogue" selected' in seen["reading"]
    page = imported(context, path, "logs")
    assert "take out what follows the last answer" in page.tab("problems")
    page.press("problems", "fix_all", kind_="open:last_not_assistant")
    assert "does not end with an answer" not in page.tab("problems").lower() and "version 2" in page["title"]


def test_an_uncertain_encoding_can_be_chosen(context: Context, tmp_path: Path):
    path = tmp_path / "euro.csv"
    path.write_bytes("prompt,completion\nWhat is a café?,A place.\n".encode("cp1252"))
    seen = looked(context, path)
    assert 'name="encoding"' in seen["reading"] and "It is not certain" in seen["reading"]
    seen = chosen(context, path, seen, "encoding", encoding="cp1251")
    assert "cafй" in seen["preview"] and "CP1251" in seen["reading"]
    seen = chosen(context, path, seen, "encoding", encoding="cp1252")
    assert "café" in seen["preview"] and json.loads(seen["chosen"])["encoding"] == "cp1252"
    page = Page(context)
    page.take([*importing.start_import(context, str(path), "cafe", seen["chosen"]), *data._values()]).followed()
    assert "café" in page.shown("rows")
    assert 'name="encoding"' not in looked(context, SAMPLES / "chat.en.jsonl")["reading"]


@pytest.mark.parametrize("name", ["empty.jsonl", "not_json.jsonl"])
def test_a_refused_file_says_so_where_it_was_dropped(context: Context, name: str):
    seen = looked(context, SAMPLES / "broken" / name)
    assert name in seen["refused"] and not seen["form"]["visible"]


def test_a_failed_import_says_which_row_and_why(empty: Context):
    page = imported(empty, SAMPLES / "broken" / "no_usable_rows.jsonl")
    words = page["progress"]["value"]
    assert "(it has 8)" in words and "Row 1: no message is from the assistant" in words
    with empty.registry.session() as session:
        assert datasets.list_datasets(session) == []


def test_sample_data_by_address_and_no_two_changes_at_once(empty: Context):
    page = Page(empty, sample="1").followed()
    assert "no problems" in page["title"], page["progress"]
    job_id = empty.desk.revise_dataset(page["name"], exclude=[1])
    with pytest.raises(Conflict):
        page.press("rows", "exclude", row=2)
    seen = replace(following.job(empty, job_id), state="running")
    number, timer, *_ = following.values(empty, seen)
    assert number == job_id and timer.active, "what was seen is shown; a later look finds out how the job ended"


def test_text_from_data_is_shown_as_text(context: Context):
    nasty = '<img src=x onerror="alert(1)">'
    row = Row(row=1, raw=json.dumps({"prompt": nasty}), prompt=nasty, completion="</pre><script>1</script>")
    for html in (view.row_html(context, row, "prompt_completion"), view.change_html(context, nasty, "<script>")):
        assert "<img" not in html and "<script" not in html and "&lt;" in html


def test_a_tab_that_cannot_be_drawn_says_so_in_its_place(context: Context):
    page = imported(context, SAMPLES / "chat.en.jsonl", "torn")
    with context.registry.session() as session:
        folder = Path(datasets.dataset(session, "torn").path)
    (folder / "problems.parquet").write_bytes(b"not a table")
    assert "is incomplete" in page.tab("problems")
    assert problems.TAB.name == "problems"


@pytest.mark.parametrize(
    ("before", "after", "parts"),
    [
        ("colour red", "color red", ("colo", "u", "", "r red")),
        ("same", "same", ("same", "", "", "")),
        ("", "new", ("", "", "new", "")),
    ],
)
def test_difference(before: str, after: str, parts: tuple[str, ...]):
    assert view.difference(before, after) == parts


@pytest.mark.parametrize(
    ("path", "name"),
    [("/x/Support Bot (2).jsonl", "Support Bot (2"), ("/x/数据.csv", "数据"), ("/x/a@b#c.json", "a-b-c")],
)
def test_suggested_name(path: str, name: str):
    assert view.suggested_name(path) == name

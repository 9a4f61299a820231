"""The data page's handlers on a real registry, with real prepare jobs: what a person sees from upload to version 3."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from app import dataset_view as view
from app.context import Context
from app.main import in_a_loop
from app.pages import data
from studio.db import datasets
from studio.errors import Conflict, RefusedInput
from studio.opening import OpenStudio, open_studio
from studio.paths import SAMPLES, Workspace
from studio.workshop.problems import Problem
from studio.workshop.versions import Row

FOLLOWING = ("job", "timer", "progress", "cancel")
HEAD = ("left", "listed", "import_panel", "dataset_panel", "name")


@pytest.fixture(name="opened")
def fixture_opened(workspace: Workspace) -> Iterator[OpenStudio]:
    opened = open_studio(workspace)
    yield opened
    opened.close()


@pytest.fixture(name="context")
def fixture_context(opened: OpenStudio) -> Context:
    return Context("en", opened.desk, opened.registry)


def built(context: Context) -> gr.Blocks:
    with gr.Blocks() as blocks:
        data.build(context)
    return blocks


def asking(**query: str) -> Any:
    return SimpleNamespace(query_params=query)


def named(values: list, *groups: tuple[str, ...]) -> dict[str, Any]:
    names = [name for group in groups for name in group]
    return dict(zip(names, values, strict=True))


def followed(context: Context, started: list) -> dict[str, Any]:
    """Look until the job has ended, as the page's timer does."""
    job_id = named(started, FOLLOWING)["job"]
    assert job_id is not None
    for _ in range(300):
        seen = named(data.follow(context, job_id), FOLLOWING, HEAD, data._DRAWN)
        if seen["job"] is None:
            return seen
        time.sleep(0.1)
    raise AssertionError("the job did not end")


def importing(context: Context, path: Path, name: str = "shop") -> dict[str, Any]:
    _, _, form, shape, *columns, button, preview = data.look(context, str(path))
    assert form["visible"] and button["interactive"], preview
    return followed(
        context, data.start_import(context, str(path), name, shape["value"], *[c["value"] for c in columns])
    )


def test_the_empty_page_teaches_and_opens_the_import(context: Context):
    page = named(data.open_page(context, asking()), FOLLOWING, HEAD, data._DRAWN)
    assert page["import_panel"]["visible"] and not page["left"]["visible"] and not page["dataset_panel"]["visible"]
    assert page["job"] is None


def test_the_page_builds_in_both_languages_without_holding_a_connection(context: Context):
    for language in ("en", "zh"):
        blocks = in_a_loop(built, Context(language, context.desk, context.registry))
        config = blocks.get_config_file()
        kinds = {component["type"] for component in config["components"]}
        assert "state" not in kinds
        assert not any(function.types_generator for function in blocks.fns.values())
        ids = {component["props"].get("elem_id") for component in config["components"]}
        assert {"data-file", "data-import", "data-sample", "data-rows", "data-problems", "data-save-fix"} <= ids
        text = json.dumps(config, ensure_ascii=False, default=str)
        assert "data.column." not in text and "data.tab." not in text  # no key without words


def test_from_upload_to_a_mended_and_trimmed_data_set(context: Context):
    page = importing(context, SAMPLES / "broken" / "broken_line.jsonl")
    assert page["name"] == "shop" and page["progress"]["visible"] is False
    assert "6 rows" in page["title"] and "2 with problems" in page["title"]
    assert "What is the warranty" in page["rows"]
    assert "Row 4 ends too early" in page["problems"] and "Row 6" in page["problems"]
    assert page["row"]["value"] == 4 and page["raw"].startswith('{"prompt"')

    faults, *rest = data.save_fix(context, "shop", 4, '{"prompt": "x"')
    assert "Row 4 ends too early" in faults and all(each == gr.skip() for each in rest)
    fixed = json.dumps({"prompt": "Can I cancel?", "completion": "Yes."})
    page = followed(context, data.save_fix(context, "shop", 4, fixed)[1:])
    assert "version 2" in page["title"] and "7 rows" in page["title"] and "Can I cancel?" in page["rows"]

    page = followed(context, data.exclude_row(context, "shop", 6))
    assert "no problems" in page["title"] and "1 excluded" in page["title"] and "excluded" in page["problems"]

    page = named(data.use_version(context, "shop", 1), HEAD, data._DRAWN)
    assert "version 1" in page["title"] and "2 with problems" in page["title"]
    assert page["version"]["choices"] == [3, 2, 1]


def test_exclude_all_and_deep_link(context: Context):
    importing(context, SAMPLES / "broken" / "speakers.jsonl", "first")
    importing(context, SAMPLES / "chat.en.jsonl", "second")
    followed(context, data.exclude_all(context, "first"))
    page = named(data.open_page(context, asking(dataset="first")), FOLLOWING, HEAD, data._DRAWN)
    assert page["name"] == "first" and "3 excluded" in page["title"] and "no problems" in page["title"]
    assert [value for _, value in page["listed"]["choices"]] == ["first", "second"]
    page = named(data.open_page(context, asking(dataset="third")), FOLLOWING, HEAD, data._DRAWN)
    assert "no data set “third”" in page["title"]


def test_rows_page_and_search(context: Context):
    importing(context, SAMPLES / "chat.en.jsonl")
    rows, start, back, forward = data.rows_forward(context, "shop", "", 0)
    assert start == 10 and "Row 11" in rows and back["interactive"] and not forward["interactive"]
    rows, start, *_ = data.search_rows(context, "shop", "SATURDAY")
    assert rows.count("<article") == 1 and start == 0
    rows, *_ = data.search_rows(context, "shop", "<b>nothing")
    assert "&lt;b&gt;nothing" in rows


def test_unknown_columns_are_chosen_by_hand(context: Context):
    path = str(SAMPLES / "broken" / "wrong_keys.jsonl")
    *_, button, preview = data.look(context, path)
    assert not button["interactive"] and "promt, reply" in preview
    *_, button, preview = data.look_with(context, path, None, "", "promt", "", "", "")
    assert not button["interactive"] and "not said which column" in preview
    *_, button, preview = data.look_with(context, path, None, "", "promt", "reply", "", "")
    assert button["interactive"] and "How heavy is the Birch 26?" in preview
    started = data.start_import(context, path, "named", "prompt_completion", "", "promt", "reply", "", "")
    assert "8 rows" in followed(context, started)["title"]
    with pytest.raises(RefusedInput):
        data.look_with(context, path, None, "", "promt", "promt", "", "")


@pytest.mark.parametrize("name", ["empty.jsonl", "not_json.jsonl"])
def test_a_refused_file_says_so_in_the_preview(context: Context, name: str):
    *_, button, preview = data.look(context, str(SAMPLES / "broken" / name))
    assert name in preview and not button["interactive"]


def test_a_failed_import_says_which_row_and_why(context: Context):
    page = importing(context, SAMPLES / "broken" / "no_usable_rows.jsonl")
    words = page["progress"]["value"]
    assert "None of the 8 rows" in words and "Row 1: no message is from the assistant" in words
    with context.registry.session() as session:
        assert datasets.list_datasets(session) == []


def test_sample_data_and_no_two_changes_at_once(context: Context):
    page = followed(context, data.import_sample(context))
    name = page["name"]
    assert "no problems" in page["title"], page["progress"]
    data.exclude_row(context, name, 1)
    with pytest.raises(Conflict):
        data.exclude_row(context, name, 2)


def test_text_from_data_is_shown_as_text(context: Context):
    nasty = '<img src=x onerror="alert(1)">'
    row = Row(row=1, raw=json.dumps({"prompt": nasty}), prompt=nasty, completion="</pre><script>1</script>")
    problem = Problem(row=2, code="unknown_role", values={"turn": 1, "role": nasty}, raw=nasty)
    for html in (view.rows_html(context, [row]), view.problems_html(context, [problem], {"unknown_role": 1})):
        assert "<img" not in html and "<script" not in html and "&lt;img" in html


@pytest.mark.parametrize(
    ("path", "name"),
    [("/x/Support Bot (2).jsonl", "Support Bot (2"), ("/x/数据.csv", "数据"), ("/x/a@b#c.json", "a-b-c")],
)
def test_suggested_name(path: str, name: str):
    assert view.suggested_name(path) == name

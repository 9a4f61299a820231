"""The Labelling tab's handlers on a real registry: from a new round to the version that its marks make."""

import json
import re
import shutil
import time
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest

from app.api import Studio
from app.context import Context
from app.data import label_marking
from app.data.labelling import TAB
from app.data.panel import Pressed, State, Told
from studio.db import datasets, jobs, label_results, labels
from studio.errors import Conflict, RefusedInput
from studio.jobs.lifecycle import LIVE, WAITING
from studio.opening import OpenStudio, open_studio
from studio.paths import Workspace, workspace
from studio.workshop.labelling.marks import Judgement, Scale, good_bad, stars
from tests.app.conftest import serving
from tests.e2e.server import end_everything

ROWS = [
    {"prompt": f"Question {n}?", "completion": f"Answer <b>{n}</b>.\n\nWith a second line."} for n in range(1, 9)
] + [{"prompt": "Do it.", "completion": "Done."}]


class Person:
    """Somebody at the tab, who sees what it draws and presses its buttons."""

    def __init__(self, opened: OpenStudio, language: str = "en") -> None:
        self.context = Context(language, opened.desk, opened.registry)
        self.state: State = {}
        self.job: int | None = None

    @property
    def dataset(self) -> datasets.DatasetSummary:
        with self.context.registry.session() as session:
            return datasets.dataset(session, "shop")

    @property
    def html(self) -> str:
        return TAB.draw(self.context, self.dataset, self.state)

    def press(self, do: str, data: dict[str, Any] | None = None, **fields: Any) -> Pressed:
        sent = {name: str(value) for name, value in (data or {}).items()}
        pressed = TAB.press(self.context, self.dataset, self.state, Told(do, sent, fields))
        self.state, self.job = json.loads(json.dumps(pressed.state)), pressed.job
        return pressed

    def start(self, **fields: Any) -> None:
        usual = {"name": "first", "scale": "stars", "by": "all", "count": "9", "num_annotators": "1"}
        self.press("create", **usual | {"guide": "Be <kind>.", "tags": "polite, rude"} | fields)

    def shown(self) -> dict[str, str]:
        """The form's own data attributes: round, task and digest."""
        form = re.search(
            r'data-form data-fresh="[^"]*" data-round="(\d+)" data-task="(\d+)" data-digest="(\w+)"', self.html
        )
        return dict(zip(("round", "task", "digest"), form.groups(), strict=True))

    def row(self) -> int | None:
        found = re.search(r'data-row="(\d+)"', self.html)
        return int(found[1]) if found else None

    def say(self, rating: str | None, **fields: Any) -> None:
        self.press("save", self.shown(), **({"rating": rating} if rating else {}) | fields)

    def marks(self) -> list[label_results.MarkView]:
        with self.context.registry.session() as session:
            current = labels.list_rounds(session, "shop")[0]
            return label_results.marks(session, current.id)


@pytest.fixture(name="imported", scope="module")
def fixture_imported(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with the data set, and beside it a copy of how it began: a job for every test would take long."""
    place = workspace(tmp_path_factory.mktemp("label") / "luthier")
    opened = open_studio(place)
    file = place.root.parent / "shop.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS), "utf-8")
    wait_for(opened, opened.desk.import_dataset(file, "shop"))
    opened.close()
    shutil.copytree(place.root, place.root.with_name("begun"))
    return place


@pytest.fixture(name="opened")
def fixture_opened(imported: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenStudio]:
    shutil.rmtree(imported.root)
    shutil.copytree(imported.root.with_name("begun"), imported.root)
    monkeypatch.setenv("LUTHIER_HOME", str(imported.root))
    opened = open_studio(imported)
    yield opened
    opened.close()
    end_everything(imported)


@pytest.fixture(name="ann")
def fixture_ann(opened: OpenStudio) -> Person:
    person = Person(opened)
    person.press("who", who=" Ann ")
    return person


def wait_for(opened: OpenStudio, job_id: int) -> None:
    for _ in range(300):
        with opened.registry.session() as session:
            job = jobs.job(session, job_id)
        if job.state not in LIVE | WAITING:
            assert job.state == "succeeded", (job.reason, job.reason_values)
            return
        time.sleep(0.1)
    raise AssertionError("the job did not end")


def test_the_empty_tab_teaches_and_starts_a_round(opened):
    for language, words in (("en", "Here people judge rows"), ("zh", "在这里由人来判断数据")):
        html = Person(opened, language).html
        assert words in html and 'data-do="create"' in html and 'data-do="cancel"' not in html
        assert "data.labelling" not in unescape(html)


def test_marking_asks_for_a_name_first(opened):
    person = Person(opened)
    person.start()
    assert 'data-remember="annotator"' in person.html and person.row() is None
    person.press("who", who="  Ann   Lee ")
    assert "You mark as Ann Lee" in person.html and person.row() == 1
    person.press("other")
    assert person.row() is None


def test_a_row_is_shown_as_text_beside_the_guide(ann):
    ann.start()
    html = ann.html
    assert "Answer &lt;b&gt;1&lt;/b&gt;." in html and "<b>1</b>" not in html
    assert "Be &lt;kind&gt;." in html and "Be <kind>." not in html
    assert html.count('name="rating"') == 5 and 'data-shortcut="5"' in html
    assert all(f'data-shortcut="{key}"' in html for key in ("Enter", "s", "f", "u"))
    assert 'name="tag:polite"' in html and 'name="tag:rude"' in html


def test_what_is_said_is_kept(ann):
    ann.start()
    original = ROWS[0]["completion"]
    typed = {"correction": original.replace("\n", "\r\n"), "original": original, "note": " fine "}
    ann.say("4", **typed, **{"tag:polite": True, "tag:rude": False, "more_tags": "short，clear"})
    ann.say("2", correction="A better answer.", original="Answer 2.", flag=True)
    first, second = ann.marks()
    assert (first.rating, first.tags, first.correction, first.note) == ("4", ["polite", "short", "clear"], None, "fine")
    assert (second.correction, second.is_flagged, second.annotator) == ("A better answer.", True, "Ann")
    assert ann.row() == 3 and "2 of 9 rows done" in ann.html and 'name="tag:clear"' in ann.html


def test_nothing_said_is_told_on_the_page_and_the_row_stays(ann):
    ann.start()
    ann.say(None, correction=ROWS[0]["completion"], original=ROWS[0]["completion"])
    assert "Nothing is marked yet" in ann.html and ann.row() == 1 and ann.marks() == []
    ann.say("3")
    assert "Nothing is marked yet" not in ann.html


def test_skip_undo_and_the_end(ann):
    ann.start(count="2")
    ann.press("skip", ann.shown())
    ann.say("5", note="why")
    assert ann.row() is None and "Nothing is left for you" in ann.html
    ann.press("undo", {"round": 1})
    assert ann.row() == 2 and re.search(r'value="5"[^>]* checked', ann.html) and 'value="why"' in ann.html
    ann.press("undo", {"round": 1})
    assert ann.row() == 1
    with pytest.raises(Conflict):
        Person.press(ann, "undo", {"round": 1})


def test_a_vague_instruction_is_flagged(ann):
    ann.start()
    assert "vague instruction" not in ann.html
    for _ in range(8):
        ann.say("3")
    assert ann.row() == 9 and "vague instruction" in ann.html


def test_the_guide_is_edited_in_the_page(ann):
    ann.start()
    ann.press("guide", {"round": 1}, guide="Be strict.")
    assert "Be strict." in ann.html
    ann.press("new")
    assert "Be strict." in ann.html and "polite, rude" in ann.html and 'value="Round 2"' in ann.html
    ann.press("cancel")
    assert ann.row() == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"name": " "},
        {"scale": "labels", "labels": "only"},
        {"count": "none"},
        {"num_annotators": "-1"},
        {"by": "findings"},
        {"guide": "x" * 100_001},
    ],
)
def test_a_round_that_cannot_be_is_refused_in_words(ann, fields):
    with pytest.raises(RefusedInput):
        ann.start(**fields)


@pytest.mark.parametrize(
    ("fields", "scale"),
    [
        ({}, stars()),
        ({"scale": "good_bad"}, good_bad()),
        ({"scale": "labels", "labels": "账单，配送, other"}, Scale(kind="labels", values=("账单", "配送", "other"))),
    ],
)
def test_scales(ann, fields, scale):
    ann.start(**fields)
    with ann.context.registry.session() as session:
        assert labels.list_rounds(session)[0].scale == scale
    assert ann.html.count('name="rating"') == len(scale.values)
    assert "data.labelling" not in unescape(ann.html)


def two_who_disagree(opened: OpenStudio) -> tuple[Person, Person]:
    ann, ben = Person(opened), Person(opened)
    ann.press("who", who="Ann")
    ben.press("who", who="Ben")
    ann.start(num_annotators="2", count="3")
    for one, other in (("1", "5"), ("4", "4"), ("3", "3")):
        ann.say(one, note="hm")
        ben.say(other, correction="Ben's answer.", original="x", **({"flag": True} if one == "3" else {}))
    return ann, ben


def test_an_arbiter_sees_marks_without_names_and_decides_for_good(opened):
    two_who_disagree(opened)
    zoe = Person(opened)
    zoe.press("view", {"view": "arbitrate"})
    assert "Decisions are recorded" in zoe.html
    zoe.press("who", who="Zoe")
    html = zoe.html
    assert zoe.row() == 1 and "ratings far apart" in html and "1 · wrong" in html and "5 · as wanted" in html
    assert "Ben</" not in html and ">Ann" not in html and "Ann</" not in html
    place = 0 if html.index("1 · wrong</strong>") > html.index("5 · as wanted</strong>") else 1
    zoe.press("take", {"place": place, "round": 1})
    assert re.search(r'value="5"[^>]* checked', zoe.html) and "Ben&#x27;s answer.</textarea>" in zoe.html
    task = zoe.shown()
    zoe.press("decide", task, rating="2", correction=ROWS[0]["completion"], original=ROWS[0]["completion"])
    assert "Row 1 is decided." in zoe.html and "Ann" in zoe.html and "Ben" in zoe.html
    assert zoe.row() == 3 and "flagged" in zoe.html
    with pytest.raises(Conflict, match="final"):
        zoe.press("decide", task, rating="5")
    zoe.press("decide", zoe.shown())
    assert "Nothing is marked yet" in zoe.html
    zoe.press("decide", zoe.shown(), rating="3")
    assert "no row of this round is in dispute" in zoe.html


def test_results_show_agreement_people_and_what_would_come_of_it(opened):
    ann, _ = two_who_disagree(opened)
    ann.press("view", {"view": "results"})
    html = unescape(ann.html)
    assert "Cohen's kappa, near misses count less" in html and "Too few rows" in html
    assert "rows marked by two or more: 3" in html
    assert "same mark 67 %" in html and ">Ann<" in html and ">Ben<" in html
    assert "2 rows in dispute stay as they are" in html and "left out: 0. Answers corrected: 1" in html
    ann.press("filter", {"round": 1}, least_rating="5", use_corrections=False, drop_unmarked=False)
    assert "left out: 1. Answers corrected: 0" in ann.html
    assert re.search(r'value="5" selected', ann.html)
    assert "data.labelling" not in html


def test_the_marks_make_a_version(opened):
    ann, _ = two_who_disagree(opened)
    ann.press("view", {"view": "results"})
    ann.press("apply", {"round": 1}, least_rating="3", use_corrections=True, **{"drop:rude": False})
    wait_for(opened, ann.job)
    made = ann.dataset
    assert (made.version, made.rows, made.excluded) == (2, 9, 0)
    assert made.manifest["steps"][-1]["parameters"]["corrected"] == 1
    assert "1 of 3 rows done" not in ann.html  # the corrected row is another row now: it wants its marks again
    ann.press("view", {"view": "mark"})
    assert ann.row() == 2


def test_marks_are_files_that_can_be_fetched(opened):
    ann, _ = two_who_disagree(opened)
    ann.press("view", {"view": "results"})
    ann.press("export", {"format": "csv", "round": 1})
    assert 'download="shop-marks-1.csv"' in ann.html
    text = (opened.desk.workspace.exports / "shop-marks-1.csv").read_text("utf-8-sig")
    assert text.startswith("row,annotator,rating") and text.count("\n") > 6


def test_a_round_is_closed_and_opened_again(ann):
    ann.start()
    ann.say("4")
    ann.press("view", {"view": "results"})
    ann.press("close", {"round": 1})
    assert "Open this round again" in ann.html
    ann.press("view", {"view": "mark"})
    assert "closed" in ann.html and ann.row() is None
    ann.press("reopen", {"round": 1})
    assert ann.row() == 2


def test_chinese_throughout(opened):
    two_who_disagree(opened)
    person = Person(opened, "zh")
    person.press("who", who="小明")
    for view in ("mark", "arbitrate", "results"):
        person.press("view", {"view": view})
        assert "data.labelling" not in unescape(person.html) and "errors." not in person.html
    assert "一致性" in person.html


def test_an_empty_form_says_nothing():
    told = Told("save", {}, {"correction": "x", "original": "x", "note": " ", "more_tags": " ， ", "flag": False})
    assert label_marking.said_in(told, "Ann") == Judgement(annotator="Ann")
    assert label_marking.is_empty(label_marking.said_in(told, "Ann"))


# -- in the browser --------------------------------------------------------------------------------------------------


@pytest.fixture(name="url")
def fixture_url(opened: OpenStudio) -> Iterator[str]:
    with serving(opened.workspace, Studio(opened.desk, opened.registry, "token")) as url:
        yield url


def row_shown(page: Any, row: int) -> None:
    page.wait_for_selector(f"#data-label article[data-row='{row}']", timeout=15_000)


@pytest.mark.browser
def test_rows_are_marked_by_keys_alone(browser, url, ann):
    ann.start()
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(f"{url}/en/data?dataset=shop&tab=label")
    page.fill("#data-label input[name=who]", "Bea")
    page.press("#data-label input[name=who]", "Enter")
    row_shown(page, 1)
    page.keyboard.press("4")
    page.keyboard.press("Enter")
    row_shown(page, 2)
    page.keyboard.press("s")
    row_shown(page, 3)
    page.keyboard.press("f")
    page.keyboard.press("2")
    page.locator("#data-label input[name=note]").fill("s u 5")  # letters in a field are text, not keys
    page.keyboard.press("Enter")
    row_shown(page, 4)
    assert page.locator("#data-label input:checked").count() == 0  # nothing of row 3 is left in the form
    assert page.locator("#data-label input[name=note]").input_value() == ""
    page.keyboard.press("5")
    page.keyboard.press("Enter")
    row_shown(page, 5)
    page.keyboard.press("u")
    row_shown(page, 4)
    assert page.locator("#data-label input[value='5']").is_checked()
    kept = [(each.row, each.rating, each.is_flagged, each.note) for each in ann.marks()]
    assert kept == [(1, "4", False, ""), (3, "2", True, "s u 5")]
    page.goto(f"{url}/en/data?dataset=shop&tab=label")
    page.wait_for_function("document.querySelector('#data-label input[name=who]')?.value === 'Bea'")
    context.close()


@pytest.mark.browser
def test_an_answer_is_corrected_and_a_version_made_in_the_page(browser, url, ann):
    ann.start(count="1")
    context = browser.new_context(viewport={"width": 400, "height": 800})
    page = context.new_page()
    page.goto(f"{url}/zh/data?dataset=shop&tab=label")
    page.fill("#data-label input[name=who]", "小明")
    page.click("#data-label button[data-do=who]")
    row_shown(page, 1)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    page.click("#data-label summary:has-text('更正回答')")
    page.fill("#data-label textarea[name=correction]", "更好的回答。")
    page.click("#data-label button[data-do=save]")
    page.wait_for_selector("#data-label :text('没有你要标注的了')")
    page.click("#data-label button[data-view=results]")
    page.click("#data-label button[data-do=apply]")
    page.wait_for_selector("#data-title :text('版本 2')", timeout=60_000)
    assert ann.dataset.manifest["steps"][-1]["parameters"]["corrected"] == 1
    context.close()


def test_marks_made_elsewhere_are_taken_in_on_the_page(ann):
    ann.start()
    ann.press("view", {"view": "results"})
    assert "Take marks in from a file" in ann.html and 'accept=".jsonl,.json,.csv"' in ann.html
    text = "\ufeffrow,annotator,rating,tags\n2,Ben,5,polite; short\n3,Ben,1,\n"
    ann.press("import", {"round": 1}, marks={"name": "marks.csv", "text": text})
    assert "2 marks taken in from marks.csv" in ann.html and 'data-format="csv"' in ann.html
    assert [(it.row, it.annotator, it.rating, it.tags) for it in ann.marks()] == [
        (2, "Ben", "5", ["polite", "short"]),
        (3, "Ben", "1", []),
    ]
    bad = '{"row": 2, "annotator": "Cem", "rating": "2"}\n{"row": 99, "annotator": "Cem", "rating": "2"}\n'
    with pytest.raises(RefusedInput, match="Line 2"):
        ann.press("import", {"round": 1}, marks={"name": "marks.jsonl", "text": bad})
    assert len(ann.marks()) == 2, "all of a file, or nothing"
    with pytest.raises(RefusedInput):
        ann.press("import", {"round": 1}, marks="no file")

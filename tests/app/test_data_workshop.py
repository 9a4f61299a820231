"""Clean, check, split, mix, compare and share on the data page: real rows, real jobs, what a person sees of them."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.context import Context
from app.data import options
from app.data import rows as rows_tab
from app.data.panel import Told
from studio.db import datasets
from studio.db.datasets import DatasetSummary
from studio.errors import RefusedInput
from studio.messages import LANGUAGES, catalogue
from studio.opening import open_studio
from studio.paths import workspace
from studio.workshop import recipe as recipes
from studio.workshop import reports
from studio.workshop.recipe import CHECKS, STEPS
from studio.workshop.versions import finding
from studio.workshop.versions.build import import_file
from studio.workshop.versions.finding import Wanted
from tests.app.data_page import Page, imported
from tests.unit.workshop.real_rows import corpus


@pytest.fixture(scope="module", name="context")
def fixture_context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    """One studio for all tests here: each opens a data set of its own, or one at its first version."""
    opened = open_studio(workspace(tmp_path_factory.mktemp("studio") / "luthier"))
    yield Context("en", opened.desk, opened.registry)
    opened.close()


@pytest.fixture(scope="module", name="imported_support")
def fixture_imported_support(context: Context, tmp_path_factory: pytest.TempPathFactory) -> None:
    """chatterbot's tech_support: 10 distinct rows in 1,050."""
    imported(context, written(tmp_path_factory.mktemp("source") / "support.jsonl", "tech_support"), "support")


@pytest.fixture
def support(context: Context, imported_support: None) -> Page:
    context.desk.rollback_dataset("support", 1)
    return Page(context, dataset="support")


def written(path: Path, *categories: str) -> Path:
    rows = corpus("english", *categories).select("prompt", "completion", "category")
    path.write_text("\n".join(json.dumps(row) for row in rows.iter_rows(named=True)), "utf-8")
    return path


def test_cleaning_is_looked_at_switched_applied_and_undone(context: Context, support: Page):
    shown = support.tab("clean")
    assert "Look what cleaning would do" in shown and "Duplicates" in shown and "data.clean" not in shown
    support.press("clean", "look")
    shown = support.shown("clean")
    assert "1,050 → 10 rows" in shown and "1,040 rows go" in shown and "word for word the same" in shown
    assert "which stays" in shown and "lu-bars-plot" in shown
    report = reports.read_look(reports.find_last_look(context.desk.workspace, Path(dataset(context, "support").path)))
    seen = reports.after_toggling(report, {"duplicates"})
    assert (seen.rows_before, seen.rows_after, sum(seen.after.counts)) == (1050, 10, 10)

    state = support.parts["state.clean"]
    pressed = switched(context, support, "duplicates", is_on=False)
    assert "1,050 → about 1,050 rows" in pressed.shown("clean")
    pressed.followed()
    assert "1,050 → 1,050 rows" in pressed.shown("clean") and "about" not in pressed.shown("clean").split("</p>")[0]

    support.parts["state.clean"] = state
    support.press("clean", "clean")
    assert "10 rows" in support["title"] and "Undo (back to version 1)" in support["title"]
    assert "1,050 → 10 rows" in support.shown("clean") and "1,040 rows taken out" in support["title"]
    assert "Rows taken out: 1,040" in support.tab("problems")
    support.press("clean", "undo", version=1)
    assert "1,050 rows" in support["title"] and "Use version 2 again" in support["title"]


def switched(context: Context, page: Page, step: str, *, is_on: bool) -> Page:
    """A switch pressed, as the page stands before the new look is there."""
    from app.data.panel import Told
    from app.pages import data

    told = Told("toggle", {"step": step}, {f"on.{step}": is_on})
    return page.take(data.press_tab(context, data._NAMED["clean"], told, page["name"], page["state.clean"]))


def test_options_make_a_recipe_that_is_saved_and_loaded(context: Context, support: Page):
    support.press("clean", "unfold", step="noise")
    assert "HTML tags and entities" in support.shown("clean")
    support.press("clean", "options", {"html": "mark", "least_quality": "0.5"}, step="noise")
    support.press("clean", "save_recipe", {"name": "mine"})
    saved = {step.step: step.options for step in recipes.find(context.desk.workspace, "mine").steps}
    assert saved["noise"] == {"html": "mark", "least_quality": 0.5} and "least_quality: 0.5" in support.shown("clean")
    with pytest.raises(RefusedInput):
        support.press("clean", "options", {"least_quality": "much"}, step="noise")
    with pytest.raises(RefusedInput):
        support.press("clean", "options", {"least_quality": "7"}, step="noise")
    support.press("clean", "load", {"recipe": "recommended"})
    assert "least_quality: 0.5" not in support.shown("clean")
    support.press("clean", "load", {"recipe": "mine"})
    support.press("clean", "remove_recipe")
    assert [each.name for each in recipes.names(context.desk.workspace) if not each.is_shipped] == []


def test_the_schema_is_read_off_the_answers(context: Context, tmp_path: Path):
    path = tmp_path / "labels.jsonl"
    lines = [{"prompt": f"Ticket {n}", "completion": ("refund", "delivery")[n % 2]} for n in range(40)]
    path.write_text("\n".join(json.dumps(line) for line in [*lines, {"prompt": "Ticket 99", "completion": "refnd"}]))
    page = imported(context, path, "labels")
    page.tab("clean")
    page.press("clean", "derive")
    page.press("clean", "look")
    assert "Did you mean “refund”?" in page.shown("clean")


def test_checks_name_rows_and_offer_remedies(context: Context, tmp_path: Path):
    page = imported(context, written(tmp_path / "all.jsonl", "ai", "food", "humor", "trivia"), "all")
    page.tab("checks")
    page.press("checks", "check")
    assert page.shown("checks").count(">Split the rows<") == 2 and "Split again" not in page.shown("checks")
    page.press("checks", "split")
    assert page["tab"] == "split"
    page.press("split", "split")
    assert "Undo (back to version 1)" in page["title"]
    sides = finding.split_counts(Path(dataset(context, "all").path))
    assert set(sides) == {"train", "test"} and "trivia" in page.shown("split")
    assert f"{sum(sides['test'].values()):,}" in page.shown("split")
    page.press("split", "side", side="test")
    assert page["tab"] == "rows" and page.shown("rows").count('lu-info">test<') == 10

    page.tab("checks")
    page.press("checks", "check")
    shown = page.shown("checks")
    for words in (
        "rows train",
        "times the rows of the smallest",
        "held-out rows are like none",
        "test against training",
    ):
        assert words in shown
    assert "data.checks" not in shown and "problems.checks" not in shown
    rows = dataset(context, "all").rows
    page.press("checks", "balance")
    assert dataset(context, "all").rows > rows and "repeated for balance" in page["title"]
    page.undo(2)
    assert dataset(context, "all").rows == rows


def test_rows_that_a_check_names_are_shown_and_left_out(context: Context, tmp_path: Path):
    path = tmp_path / "odd.jsonl"
    lines = [{"prompt": f"Say {n}", "completion": f"A full answer to number {n}, in words."} for n in range(30)]
    path.write_text("\n".join(json.dumps(line) for line in [*lines, {"prompt": "Say", "completion": "?!?!"}]))
    page = imported(context, path, "odd")
    page.tab("checks")
    page.press("checks", "check")
    assert "the answer has no words" in page.shown("checks") or "mostly symbols" in page.shown("checks")
    page.press("checks", "row", row=31)
    assert page["tab"] == "rows" and page.shown("rows").count("<article") == 1 and "?!?!" in page.shown("rows")
    page.press("checks", "exclude", check="quality")
    assert "1 excluded" in page["title"]


def test_mixing_says_what_comes_of_it_and_does_it(context: Context, support: Page, tmp_path: Path):
    imported(context, written(tmp_path / "general.jsonl", "conversations"), "general")
    page = Page(context, dataset="support", tab="mix")
    assert "general" in page.shown("mix") and "Give at least one data set a share" in page.shown("mix")
    fields = {"share.general": "5", "into": "", "seed": "42"}
    page.press("mix", "shares", fields)
    assert "1,050 + 55 general = 1,105 rows" in page.shown("mix")
    page.press("mix", "mix", fields)
    assert "1,105 rows" in page["title"] and "55 rows mixed in" in page["title"]
    page.press("mix", "shares", {"share.general": "99.5"})
    page.press("mix", "mix", {"share.general": "5", "into": "both", "seed": "1"})
    assert page["name"] == "both" and "both" in page["listed"]


def test_versions_are_noted_compared_exported_and_shared(context: Context, support: Page, tmp_path: Path):
    support.press("rows", "exclude", row=7)
    newest = dataset(context, "support").version
    support.tab("versions")
    support.press("versions", "save_note", {"note": "row 7 was <odd>"}, version=newest)
    assert "row 7 was &lt;odd&gt;" in support.shown("versions")
    support.press("versions", "compare", {"a": "1", "b": str(newest)})
    shown = support.shown("versions")
    assert "Removed (1)" in shown and "1,049 rows are the same" in shown and "Row 7" in shown
    support.press("versions", "export", format="csv")
    assert (context.desk.workspace.exports / f"support-v{newest}.csv").exists()
    assert f'download="support-v{newest}.csv"' in support.shown("versions")
    remote = str(tmp_path / "remote")
    support.press("versions", "push", {"remote": remote})
    support.press("versions", "pull", {"remote": remote, "pulled": "support", "into": "again"})
    assert support["name"] == "again" and "1,049 rows" in support["title"]
    page = Page(context, dataset="support", tab="versions")
    page.press("versions", "use", version=1)
    assert "version 1" in page["title"] and f"version {newest} is newer" in page["title"]


def dataset(context: Context, name: str) -> DatasetSummary:
    with context.registry.session() as session:
        return datasets.dataset(session, name)


def test_reading_finds_rows_by_every_filter(context: Context, support: Page):
    folder = Path(dataset(context, "support").path)
    found = finding.find_rows(folder, Wanted(), start=1045, count=10)
    assert [row.row for row in found.rows] == [1046, 1047, 1048, 1049, 1050] and not found.has_more
    assert finding.find_rows(folder, Wanted(), start=99_999, count=10).rows[0].row == 1050
    found = finding.find_rows(folder, Wanted(numbers=(3, 5, 4000)), start=0, count=10)
    assert ([row.row for row in found.rows], found.total) == ([3, 5], 2)
    assert finding.find_rows(folder, Wanted(category="tech_support"), start=0, count=1).total == 1050
    assert finding.find_rows(folder, Wanted(category=finding.NONE), start=0, count=1).total == 0
    word = found.rows[0].prompt.split()[-1]
    searched = finding.find_rows(folder, Wanted(search=word.upper(), category="tech_support"), start=0, count=5)
    assert len(searched.rows) == 5 and searched.has_more and all(word in row.raw for row in searched.rows)
    assert finding.place_of(folder, 17) == 16 and finding.place_of(folder, 9999) == 1050


def test_a_long_search_tells_how_far_it_is_goes_on_by_itself_and_can_be_stopped(
    context: Context, support: Page, monkeypatch: pytest.MonkeyPatch
):
    """Each row group is as much as one answer looks at here."""
    folder = Path(dataset(context, "support").path)
    rows = [json.dumps({"prompt": f"q {number}", "completion": "word " * 500}) for number in range(6000)]
    (folder.parent / "long.jsonl").write_text("\n".join(rows), "utf-8")
    import_file(folder.parent / "long.jsonl", folder.parent / "long")
    long = replace(dataset(context, "support"), path=str(folder.parent / "long"))
    monkeypatch.setattr(rows_tab, "SEARCH_SECONDS", 0)
    shown = [rows_tab.draw(context, long, {"search": "q 5999"}) for _ in range(20)]
    searching = [each for each in shown if "data-again" in each]
    assert len(searching) > 1 and shown[: len(searching)] == searching and len(set(searching)) == len(searching)
    assert all("Searched so far: " in each and "No row is like that" not in each for each in searching)
    assert "q 5999" in shown[-1] and "Searched" not in shown[-1] and 'data-row="6000"' in shown[-1]

    state = rows_tab.press(context, long, {"search": "Q 5998"}, Told("stop")).state
    stopped = rows_tab.draw(context, long, state)
    assert "Stopped." in stopped and "data-again" not in stopped and 'data-do="again"' in stopped
    state = rows_tab.press(context, long, state, Told("again")).state
    assert state == {"search": "Q 5998"} and "data-again" in rows_tab.draw(context, long, state)


# -- words ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", STEPS)
def test_every_step_and_option_has_words(step: str):
    prefix = "split.option" if step == "split" else f"clean.{step}"
    for language in LANGUAGES:
        words = catalogue(language)
        assert f"data.clean.step.{step}.title" in words and f"data.clean.step.{step}.help" in words
        for info in recipes.options_of(step):
            assert f"data.{prefix}.{info.name}.label" in words, info.name
            for choice in info.choices:
                keys = {f"data.{prefix}.{info.name}.{choice}", f"data.choice.{choice}"}
                assert keys & words.keys(), f"{info.name}: {choice}"


@pytest.mark.parametrize("check", CHECKS)
def test_every_check_has_words(check: str):
    for part in ("title", "help", "todo"):
        assert f"data.checks.{check}.{part}" in catalogue("en")


def test_every_kind_of_problem_and_finding_has_a_short_name():
    words = catalogue("zh")
    found = {key.removeprefix("problems.") for key in words if key.startswith("problems.clean.")}
    faults = {key.removeprefix("problems.") for key in words if key.startswith("problems.")} - found
    faults = {key for key in faults if "." not in key.removeprefix("reading.") and not key.endswith("_counted")}
    assert sorted(key for key in found if f"data.found.{key}" not in words and "split" not in key) == []
    assert sorted(key for key in faults if f"data.kind.{key}" not in words) == []


def test_entered_options_are_those_that_differ():
    infos = recipes.options_of("duplicates")
    fields = {"similarity": "0.9", "near": True, "keep": "first", "rating": "rating", "same_prompt": False}
    assert options.entered(infos, fields) == {"similarity": 0.9, "same_prompt": False}
    infos = recipes.options_of("task_schema")
    typed = {"kind": "labels", "labels": "yes\n no \n\n", "keys": "{}"}
    assert options.entered(infos, typed) == {"kind": "labels", "labels": ["yes", "no"]}
    with pytest.raises(RefusedInput):
        options.entered(infos, {"keys": "{name"})

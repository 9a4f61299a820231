"""What annotators said, used on the data page: rows filtered, duplicates chosen, the quality check taught."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.context import Context
from studio.db import datasets
from studio.errors import RefusedInput
from studio.paths import workspace
from studio.workshop.labelling import taught
from studio.workshop.labelling.marks import Judgement, good_bad, stars
from tests.app.data_page import Page, studio_with

GOOD = "The parcel leaves our warehouse within {n} days, and you get a number to follow it."
BAD = "whatever lol dunno {n}"
ROWS = 24


@pytest.fixture(scope="module", name="context")
def fixture_context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    """One studio for all tests here; `shop` has good and bad answers in turn, and two rows that say the same."""
    rows = [
        {"prompt": f"When does parcel {n} leave?", "completion": (GOOD if n % 2 else BAD).format(n=n)}
        for n in range(1, ROWS + 1)
    ]
    rows.append({"prompt": "When  does parcel 1 leave?", "completion": GOOD.format(n=1)})
    with studio_with(tmp_path_factory.mktemp("studio"), rows) as context:
        yield context


@pytest.fixture
def shop(context: Context) -> Page:
    context.desk.rollback_dataset("shop", 1)
    return Page(context, dataset="shop")


def mark(context: Context, round_id: int, said: dict[int, Judgement]) -> None:
    for _ in range(ROWS + 1):
        task = context.desk.labelling.next_row(round_id, "Ann")
        if task is None:
            return
        if task.row in said:
            context.desk.labelling.mark(task.id, "Ann", task.digest, said[task.row])
        else:
            context.desk.labelling.skip(task.id, "Ann", task.digest)


def test_before_anybody_marks_a_row(context: Context, shop: Page):
    assert 'name="rating"' not in shop.shown("rows")
    assert "Teach" not in shop.tab("checks") and "To Label" in shop.shown("checks")
    with pytest.raises(RefusedInput):
        shop.press("checks", "teach")
    shop.tab("clean")
    with pytest.raises(RefusedInput, match="Nobody has rated rows"):
        shop.press("clean", "options", {"keep": "highest_marked"}, step="duplicates").press("clean", "look")


def test_the_best_rated_of_two_duplicates_stays(context: Context, shop: Page):
    number = context.desk.labelling.start_round("shop", "stars", scale=stars(), tags=["polite"])
    said = {1: Judgement(annotator="Ann", rating="2"), 2: Judgement(annotator="Ann", rating="1")}
    said[25] = Judgement(annotator="Ann", rating="5", tags=("polite",))
    mark(context, number, said)

    shown = shop.tab("rows")
    assert "rated well (1)" in shown and "rated badly (2)" in shown and "polite (1)" in shown
    shop.press("rows", "filter", {"rating": "low"})
    assert shop.shown("rows").count("<article") == 2 and 'data-row="2"' in shop.shown("rows")
    shop.press("rows", "filter", {"rating": "low", "tag": "polite"})
    assert "No row is like that" in shop.shown("rows")
    shop.press("rows", "filter", {"tag": "polite"})
    assert shop.shown("rows").count("<article") == 1 and 'data-row="25"' in shop.shown("rows")

    shop.tab("clean")
    for keep, gone in (("first", 25), ("highest_marked", 1)):
        shop.press("clean", "options", {"keep": keep, "near": False}, step="duplicates").press("clean", "look")
        assert f"Row {gone} says the same as row {26 - gone}" in shop.shown("clean")
        assert "Look again" not in shop.shown("clean"), "what is shown is exactly what these switches do"
    shop.press("clean", "clean")
    with context.registry.session() as session:
        assert datasets.dataset(session, "shop").rows == ROWS


def test_the_quality_check_learns_from_the_marks(context: Context, shop: Page):
    number = context.desk.labelling.start_round("shop", "keep or drop", scale=good_bad())
    few = {row: Judgement(annotator="Ann", rating="good" if row % 2 else "bad") for row in range(1, 13)}
    context_marks = {row: said for row, said in few.items() if row < 9}
    mark(context, number, context_marks)
    assert "Teach the quality check" in shop.tab("checks")
    with pytest.raises(RefusedInput, match="Mark at least 10 of each"):
        shop.press("checks", "teach")
    assert taught.find(context.desk.workspace, "shop") is None

    number = context.desk.labelling.start_round("shop", "more", scale=good_bad())
    every = {row: Judgement(annotator="Ann", rating="good" if row % 2 else "bad") for row in range(1, ROWS + 1)}
    mark(context, number, every)
    shop.press("checks", "teach")
    made, file = taught.find(context.desk.workspace, "shop")
    assert (made.kept, made.dropped) == (13, 12) or (made.kept, made.dropped) == (12, 12)
    assert 0.9 <= made.accuracy <= 1 and f"{100 * made.accuracy:.0f} % came out right" in shop.shown("checks")
    shop.press("checks", "clean")
    assert shop["tab"] == "clean" and "Judge quality by your marks" in shop.shown("clean")
    shop.press("clean", "learned").press("clean", "look")
    assert "judged by your own marks" in shop.shown("clean") and str(file) in shop.shown("clean")
    shop.press("clean", "learned").press("clean", "look")
    assert "judged by your own marks" not in shop.shown("clean")


def test_ratings_that_are_gone_are_told(tmp_path: Path):
    with pytest.raises(RefusedInput):
        taught.read_ratings(tmp_path / "none.json")
    place = workspace(tmp_path / "luthier").make()
    file = taught.keep_ratings(place, {3: 0.5, 1: 1.0})
    assert taught.keep_ratings(place, {1: 1.0, 3: 0.5}) == file and taught.read_ratings(file) == {1: 1.0, 3: 0.5}

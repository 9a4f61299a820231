"""The desk's verbs about difficulty: a model is asked once about rows, whatever is then made of its losses."""

from pathlib import Path

import msgspec
import pytest

from studio.db import models
from studio.desk_scoring import CHECK, difficulty_place, scorer_of
from studio.errors import RefusedInput, UnknownName
from studio.workshop import checking, reports, row_losses
from studio.workshop.row_losses import LossReport, Scorer
from tests.unit.test_desk_data import Shop
from tests.unit.workshop.making import pair, version

LOSSES = {1: (3, 0.5), 2: (4, 2.5)}


@pytest.fixture
def shop(tmp_path):
    made = Shop(tmp_path)
    with made.writer.begin() as session:
        for name in ("small", "large"):
            facts = {"architecture": "llama", "size_bytes": 1, "content_hash": f"hash of {name}"}
            models.add_model(session, name=name, source="local", path=str(tmp_path / name), facts=facts)
    yield made
    made.writer.close()


def measured(shop, job_id):
    """What a job that measures leaves, taken over by the studio."""
    values, output = shop.job(job_id).values, shop.workspace.job(job_id) / "output"
    told = LossReport(
        model="small", load_in_4bit=False, max_length=1024, rows=2, scored=2, tokens=7, loss=1.6, cut=0, left_out={}
    )
    row_losses.keep(output / "losses", told, LOSSES, [1, 2])
    losses = row_losses.read(output / "losses")
    folder = Path(shop.summary("support").path)
    checking.check(folder, {CHECK: values["options"]}, output / "report", extras={"losses": losses})
    shop.take(job_id, {"report": values["report"], "losses": values["losses"]})


def test_a_model_is_asked_once_and_then_its_losses_are_known(shop):
    first = shop.desk.check_difficulty("support", "small")
    job = shop.job(first)
    assert (job.kind, job.values["operation"], job.dataset) == ("score", "score", "support")
    assert msgspec.convert(job.values["scorer"], Scorer).title == "small"
    assert shop.desk.check_difficulty("support", "small") == first
    measured(shop, first)
    assert shop.desk.check_difficulty("support", "small") is None
    with shop.writer.begin() as session:
        scorer = scorer_of(session, "small")
    place = difficulty_place(shop.workspace, shop.summary("support"), scorer)
    assert reports.read_checks(place)[CHECK]["losses"]["loss"] == 1.6
    again = shop.job(shop.desk.check_difficulty("support", "small", options={"length": 0}))
    assert (again.kind, again.values["operation"]) == ("prepare", "check")
    assert again.values["losses"] == job.values["losses"] and again.values["checks"] == {CHECK: {"length": 0}}


@pytest.mark.parametrize(
    ("model", "settings"), [("large", {}), ("small", {"max_length": 64}), ("small", {"load_in_4bit": True})]
)
def test_another_model_length_or_precision_is_another_question(shop, model, settings):
    measured(shop, shop.desk.check_difficulty("support", "small"))
    assert shop.job(shop.desk.check_difficulty("support", model, **settings)).kind == "score"


def test_versions_that_train_alike_share_the_losses_whatever_their_rows_are_numbered(shop):
    measured(shop, shop.desk.check_difficulty("support", "small"))
    path = shop.workspace.datasets / "support" / "v2"
    shop.enter("support", 2, version(path, [pair("Hi", "Hello"), pair("A", "B")], problems={1: "empty_answer"}))
    values = shop.job(shop.desk.check_difficulty("support", "small")).values
    assert (values["operation"], values["version"]) == ("check", str(path))
    losses = row_losses.read(Path(values["losses"]))
    only_loss = {CHECK: {"length": 0, "rare_words": 0, "turns": 0}}
    found = checking.check(path, only_loss, shop.workspace.root / "r", extras={"losses": losses})
    assert (found[CHECK]["easiest"], found[CHECK]["hardest"]) == ([2, 3], [3, 2])


def test_what_was_measured_on_an_earlier_version_is_handed_to_the_job(shop):
    first = shop.desk.check_difficulty("support", "small")
    assert "before" not in shop.job(first).values
    measured(shop, first)
    parent = shop.summary("support").path
    for number in (2, 3):
        path = shop.workspace.datasets / "support" / f"v{number}"
        shop.enter("support", number, version(path, [pair("Hi", "Hello"), pair("A", f"C{number}")]))
    before = shop.job(shop.desk.check_difficulty("support", "small")).values["before"]
    assert before == {"losses": shop.job(first).values["losses"], "version": parent}
    assert "before" not in shop.job(shop.desk.check_difficulty("support", "large")).values


def test_a_version_is_ordered_by_losses_where_a_model_is_named(shop):
    measured(shop, shop.desk.check_difficulty("support", "small"))
    values = shop.job(shop.desk.order_dataset("support", {"turns": 0}, model="small")).values
    assert values["options"] == {"turns": 0} and row_losses.read(Path(values["losses"])).report.model == "small"
    assert "losses" not in shop.job(shop.desk.order_dataset("general")).values


def test_rows_are_not_ordered_by_losses_that_nobody_measured(shop):
    with pytest.raises(RefusedInput) as refused:
        shop.desk.order_dataset("support", model="small")
    assert refused.value.code == "data.check.not_asked"


def test_what_cannot_be_asked_is_refused(shop):
    with pytest.raises(UnknownName, match="smal"):
        shop.desk.check_difficulty("support", "smal")
    with pytest.raises(UnknownName):
        shop.desk.check_difficulty("support", {"checkpoint": 7})
    for settings in ({"max_length": 4}, {"max_length": "long"}, {"options": {"loss": 2}}, {"options": {"los": 1}}):
        with pytest.raises(RefusedInput):
            shop.desk.check_difficulty("support", "small", **settings)

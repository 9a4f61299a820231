"""The desk's verbs about data sets: what they queue, what they refuse, and what they know already."""

from pathlib import Path

import msgspec
import pytest

from studio.db import datasets, jobs, models
from studio.db.engine import Writer
from studio.db.tables import Job
from studio.desk import Desk
from studio.errors import Conflict, RefusedInput, UnknownName
from studio.jobs.products import take_product
from studio.paths import Workspace
from studio.workshop import cleaning, reports
from studio.workshop import recipe as recipes
from studio.workshop.versions.reader import read_manifest
from tests.unit.workshop.making import pair, version

NOISE = {"steps": [{"step": "noise", "options": {"html": "mark"}}]}


class Shop:
    """A desk with two data sets on it, and shorthands."""

    def __init__(self, folder: Path) -> None:
        self.workspace = Workspace(folder / "studio").make()
        self.writer = Writer(self.workspace.registry)
        self.desk = Desk(self.workspace, self.writer)
        for name in ("support", "general"):
            path = version(self.workspace.datasets / name / "v1", [pair("Hi", "Hello"), pair("A", "B")])
            self.enter(name, 1, path)

    def enter(self, name: str, number: int, path: Path) -> None:
        manifest = msgspec.to_builtins(read_manifest(path))
        with self.writer.begin() as session:
            owner = datasets.reserve(session, name)
            datasets.add_version(session, owner, number=number, path=str(path), job_id=1, manifest=manifest)

    def job(self, job_id: int) -> jobs.JobView:
        with self.writer.begin() as session:
            return jobs.job(session, job_id)

    def take(self, job_id: int, figures: dict) -> None:
        """What happens when the job has succeeded."""
        with self.writer.begin() as session:
            job = session.get_one(Job, job_id)
            job.figures = figures
            take_product(session, self.workspace, job)
            job.state = "succeeded"

    def summary(self, name: str) -> datasets.DatasetSummary:
        with self.writer.begin() as session:
            return datasets.dataset(session, name)


@pytest.fixture
def shop(tmp_path):
    made = Shop(tmp_path)
    yield made
    made.writer.close()


def test_a_look_is_a_job_once_and_then_known(shop):
    first = shop.desk.look_dataset("support", NOISE)
    assert shop.desk.look_dataset("support", NOISE) == first
    values = shop.job(first).values
    assert (values["operation"], values["recipe"]["steps"][0]["options"]) == ("look", {"html": "mark"})
    made = shop.workspace.job(first) / "output" / "report"
    cleaning.look(Path(values["version"]), recipes.parse(values["recipe"]), made)
    shop.take(first, {"report": values["report"]})
    assert shop.desk.look_dataset("support", NOISE) is None
    folder = reports.find_look(shop.workspace, Path(values["version"]), recipes.parse(NOISE))
    assert str(folder) == values["report"] and reports.read_look(folder).rows_before == 2
    assert reports.find_last_look(shop.workspace, Path(values["version"])) == folder
    assert shop.desk.look_dataset("support", {"steps": ["noise"]}) is not None


def test_looking_does_not_block_changing_and_changing_blocks_changing(shop):
    shop.desk.look_dataset("support", NOISE)
    shop.desk.export_dataset("support")
    shop.desk.clean_dataset("support", NOISE)
    for change in (
        lambda: shop.desk.clean_dataset("support", NOISE),
        lambda: shop.desk.revise_dataset("support", exclude=[1]),
        lambda: shop.desk.mix_datasets("support", [{"dataset": "general", "share": 0.1}]),
        lambda: shop.desk.pull_dataset("/tmp/remote", "support"),
    ):
        with pytest.raises(Conflict, match="support"):
            change()
    shop.desk.clean_dataset("general", NOISE)


def test_a_mix_may_become_a_data_set_of_its_own(shop):
    job = shop.job(shop.desk.mix_datasets("support", [{"dataset": "general@1", "share": 0.1}], into="both"))
    assert (job.values["name"], job.values["parent"]) == ("both", shop.summary("support").path)
    assert job.values["parts"][0]["path"] == shop.summary("general").path


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, True, "0.1", None])
def test_shares_that_cannot_be_are_refused(shop, share):
    with pytest.raises(RefusedInput) as refused:
        shop.desk.mix_datasets("support", [{"dataset": "general", "share": share}])
    assert refused.value.code == "data.mix.shares"


@pytest.mark.parametrize(
    "ask",
    [
        lambda desk: desk.clean_dataset("support", "recomended"),
        lambda desk: desk.clean_dataset("nobody"),
        lambda desk: desk.look_dataset("support", {"steps": ["nois"]}),
        lambda desk: desk.check_dataset("support", ["balanse"]),
        lambda desk: desk.balance_dataset("support", {"max_factr": 3}),
        lambda desk: desk.diff_datasets("support", 1, 9),
        lambda desk: desk.note_version("support", 9, "x"),
    ],
)
def test_unknown_names_are_refused_before_a_job(shop, ask):
    with pytest.raises(UnknownName):
        ask(shop.desk)
    with shop.writer.begin() as session:
        assert jobs.list_jobs(session, kinds=("prepare",)) == []


@pytest.mark.parametrize(
    ("ask", "code"),
    [
        (lambda desk: desk.mix_datasets("support", [{"dataset": "support", "share": 0.1}]), "data.mix.same"),
        (lambda desk: desk.mix_datasets("support", []), "data.mix.shares"),
        (lambda desk: desk.restore_rows("support"), "data.restore.nothing"),
        (lambda desk: desk.export_dataset("support", format="xls"), "data.export.format"),
        (lambda desk: desk.push_dataset("support", "http://x"), "data.remote.kind"),
        (lambda desk: desk.pull_dataset("memory://x", "../x"), "name.unusable"),
        (lambda desk: desk.save_recipe("../x", NOISE), "name.unusable"),
        (lambda desk: desk.note_version("support", 1, "x" * 5000), "data.version.note_long"),
        (lambda desk: desk.balance_dataset("support", {"max_factor": 99}), "data.cleaning.bad_option"),
    ],
)
def test_what_cannot_be_is_refused_with_its_code(shop, ask, code):
    with pytest.raises(RefusedInput) as refused:
        ask(shop.desk)
    assert refused.value.code == code
    assert "{" not in refused.value.message() + refused.value.message("zh")


def test_restoring_looks_in_the_versions_it_came_from(shop):
    second = version(shop.workspace.datasets / "support" / "v2", [pair("Hi", "Hello")])
    shop.enter("support", 2, second)
    values = shop.job(shop.desk.restore_rows("support", rows=[2])).values
    assert values["ancestors"] == [str(shop.workspace.datasets / "support" / "v1")]


def test_a_note_is_kept_beside_the_version_and_taken_back(shop):
    folder = Path(shop.summary("support").path)
    before = (folder / "manifest.json").read_bytes()
    shop.desk.note_version("support", 1, "  first try ")
    assert shop.summary("support").manifest["note"] == "first try"
    shop.desk.note_version("support", 1, "")
    assert shop.summary("support").manifest["note"] is None
    assert (folder / "manifest.json").read_bytes() == before


def test_lengths_under_a_model_need_its_inspection(shop):
    facts = {"architecture": "Llama", "size_bytes": 1, "content_hash": "x"}
    with shop.writer.begin() as session:
        models.add_model(session, name="small", source="local", path="/m", facts=facts)
    with pytest.raises(RefusedInput, match="small"):
        shop.desk.check_dataset("support", ["lengths"], model="small")
    figures = {"tokens": {"lengths": {"mean": 9.0}}}
    with shop.writer.begin() as session:
        models.keep_inspection(session, "x", shop.summary("support").content_hash, figures)
    job = shop.job(shop.desk.check_dataset("support", ["lengths"], model="small"))
    assert job.values["tokens"] == figures["tokens"]


def test_an_export_lands_among_the_exports(shop):
    job_id = shop.desk.export_dataset("support", format="csv")
    made = shop.workspace.job(job_id) / "output" / "export"
    made.mkdir(parents=True)
    (made / "support-v1.csv").write_text("x")
    shop.take(job_id, {"file": "x"})
    assert (shop.workspace.exports / "support-v1.csv").read_text() == "x"


def test_a_cleaned_version_is_entered_and_current(shop):
    job_id = shop.desk.clean_dataset("support", {"steps": ["noise"]})
    values = shop.job(job_id).values
    made = shop.workspace.job(job_id) / "output" / "version"
    manifest, _ = cleaning.apply(Path(values["parent"]), recipes.parse(values["recipe"]), made)
    shop.take(job_id, {"manifest": msgspec.to_builtins(manifest), "steps": []})
    assert (shop.summary("support").version, shop.summary("support").parent) == (2, 1)
    assert not made.exists() and (Path(shop.summary("support").path) / reports.CHANGES).exists()

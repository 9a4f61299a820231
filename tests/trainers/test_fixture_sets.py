"""Our own pairs, thumbs and questions: what the workshop makes of them, and that each method learns from them."""

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from studio.protocol import DatasetRef
from studio.workshop import cleaning, recipe
from studio.workshop.versions.reader import read_manifest
from tests.fixture_sets import FIXTURES, SETS, imported
from tests.trainers.jobs import events_of, model_ref, run_here, write_spec
from tests.trainers.test_preference import BASE
from tests.trainers.test_preference import METHODS as PREFERENCES
from tests.trainers.test_rewarded import METHODS as REWARDED
from tests.trainers.test_rewarded import VALUES

pytestmark = [pytest.mark.filterwarnings("ignore::FutureWarning"), pytest.mark.filterwarnings("ignore::UserWarning")]

CHINESE = re.compile("[\u4e00-\u9fff]")
FORMATS = {"preference": "preference", "unpaired": "unpaired", "prompts": "prompt"}


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, DatasetRef]:
    folder = tmp_path_factory.mktemp("sets")
    return {name: imported(folder / name, name) for name in SETS}


@pytest.mark.parametrize("name", SETS)
def test_the_workshop_finds_out_what_they_are(sets: dict[str, DatasetRef], name: str) -> None:
    found = sets[name]
    assert (found.format, found.rows) == (FORMATS[name], SETS[name])
    assert read_manifest(Path(found.path)).shape == FORMATS[name]


@pytest.mark.parametrize("name", SETS)
def test_every_row_is_about_something_else(sets: dict[str, DatasetRef], name: str, tmp_path: Path) -> None:
    report = cleaning.look(Path(sets[name].path), recipe.parse({"steps": ["duplicates"]}), tmp_path / "look")
    (step,) = report.steps
    assert (step.removed, report.rows_after, [code.code for code in step.codes]) == (0, SETS[name], [])


def test_both_languages_and_both_thumbs_are_as_many() -> None:
    for name, count in SETS.items():
        lines = (FIXTURES / f"{name}.jsonl").read_text("utf-8").splitlines()
        assert sum(bool(CHINESE.search(line)) for line in lines) == count / 2 == len(lines) / 2
        if name == "unpaired":
            assert sum(json.loads(line)["label"] for line in lines) == count / 2


@pytest.mark.parametrize(("method", "name"), [("dpo", "preference"), ("kto", "unpaired"), ("grpo", "prompts")])
def test_a_method_learns_from_them(
    sets: dict[str, DatasetRef], tiny: Path, tmp_path: Path, method: str, name: str
) -> None:
    module, own = (PREFERENCES | REWARDED)[method]
    shared: dict[str, Any] = VALUES if method in REWARDED else BASE
    values = shared | own | {"method": method, "max_steps": 2, "save_steps": 2, "max_length": 256}
    folder = write_spec(tmp_path, values=values, dataset=sets[name], model=model_ref(tiny))
    result = run_here(module.main, folder)
    assert result.outcome == "succeeded", result
    losses = [event.data["values"]["loss"] for event in events_of(folder, "metric") if "loss" in event.data["values"]]
    assert len(losses) == 2 and all(map(math.isfinite, losses))
    assert not events_of(folder, "alert"), "no row is left out"

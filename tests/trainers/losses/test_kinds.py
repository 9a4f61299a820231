"""Every way of training takes what a run asks for besides the method's own loss."""

import re

import pytest

from studio.params.methods import METHODS
from studio.params.table import parameters
from studio.paths import PROJECT_ROOT
from tests.trainers.jobs import SFT
from trainers.losses.answers import ScoresAnswersOnly
from trainers.losses.kinds import mixins

ENTRIES = [
    path for path in (PROJECT_ROOT / "trainers").rglob("*.py") if "recipe.trainer_class(" in path.read_text("utf-8")
]


@pytest.mark.parametrize("path", ENTRIES, ids=lambda path: path.stem)
def test_an_entry_point_mixes_in_what_is_asked_for(path) -> None:
    for _, bases in re.findall(r"recipe\.trainer_class(\(((?:[^()]|\(.*?\))*)\))", path.read_text("utf-8")):
        assert re.search(r"(?<![.\w])\*mixins\(", bases), bases


@pytest.mark.parametrize("method", METHODS)
def test_a_method_has_the_settings_of_a_step(method: str) -> None:
    assert {"lr_scheduler_type", "decay_ratio", "optim"} <= {parameter.name for parameter in parameters(method)}


def test_a_plain_run_gets_nothing_but_speed() -> None:
    assert mixins(SFT) == (ScoresAnswersOnly,)
    assert mixins(SFT | {"method": "pretrain"}) == ()

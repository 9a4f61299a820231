"""Runs that are killed, and checkpoints that are damaged: a few trials of `python -m tests.faults` in every run."""

import random
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from studio.jobs import processes
from tests.faults.nursery import Nursery
from tests.faults.studio import FaultStudio
from tests.faults.trials import TRIALS, Reference, undisturbed

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def studio(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultStudio]:
    with Nursery() as nursery, patch.object(processes, "start", nursery.start):
        made = FaultStudio(tmp_path_factory.mktemp("studio"), tiny)
        yield made
        made.writer.close()


@pytest.fixture(scope="module", params=["lora", "full"])
def reference(request: pytest.FixtureRequest, studio: FaultStudio) -> tuple[str, Reference]:
    return request.param, undisturbed(studio, request.param)


@pytest.mark.parametrize("kind", TRIALS)
@pytest.mark.parametrize("seed", range(2))
def test_the_run_ends_as_if_nothing_had_happened(
    studio: FaultStudio, reference: tuple[str, Reference], kind: str, seed: int
) -> None:
    tuning, left_alone = reference
    trial = TRIALS[kind](studio, tuning, left_alone, random.Random(f"{kind} {seed}"))
    assert trial.is_survived, trial

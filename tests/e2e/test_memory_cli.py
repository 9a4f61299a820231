"""`luthier memory SPEC.yaml` and `--probe` on real weights: what is predicted, and what two steps of it took."""

import json

import pytest

from studio.paths import workspace
from tests.e2e.luthier import luthier, luthier_here
from tests.e2e.server import Server, end_everything
from tests.starter import put_starter

pytestmark = pytest.mark.slow
ROWS = [
    {"prompt": f"What is {left} plus {right}?", "completion": f"The answer is {left + right}."}
    for left in range(4)
    for right in range(5)
]
SPEC = "model_name_or_path: starter\ndataset: sums\nper_device_train_batch_size: 2\nmax_length: 64\n"
PHASES = {"load", "forward_and_loss", "layer_backward", "optimizer_step", "evaluation"}


@pytest.fixture(scope="module")
def studio(tmp_path_factory, small_starter):
    """A studio with a model and rows, whose server runs already."""
    folder = tmp_path_factory.mktemp("memory")
    place = workspace(folder / "luthier").make()
    put_starter(small_starter, place)
    (folder / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    server = Server(place).start()
    imported = luthier_here(place, "data", "import", folder / "sums.jsonl", "--json")
    assert imported.code == 0, imported.err
    yield place
    server.stop()
    end_everything(place)


@pytest.fixture
def written(tmp_path):
    """A spec's file: `written("lora_r: 8\\n")`."""

    def write(more=""):
        path = tmp_path / "spec.yaml"
        path.write_text(SPEC + more)
        return path

    return write


def predicted(studio, path, *words):
    ran = luthier_here(studio, "memory", path, *words, "--json")
    assert ran.code == 0, ran.err
    return ran.document


def test_a_spec_is_predicted_with_its_own_settings_and_rows(studio, written):
    found = predicted(studio, written())
    assert set(found["phases"]) >= PHASES and found["verdict"] == "fits"
    assert found["allocated_bytes"] == found["phases"][found["peak_phase"]] == sum(found["terms"].values())
    low, high = found["device_bytes"]
    assert low < high and found["resting_bytes"] < found["allocated_bytes"]
    assert not found["is_measured"] and found["num_runs"] == 0
    several = predicted(studio, written("per_device_eval_batch_size: 64\n"))
    assert several["phases"]["evaluation"] > found["phases"]["evaluation"]


def test_for_people_it_reads_as_lines(studio, written):
    said = luthier_here(studio, "memory", written()).out
    assert "GiB" in said and "weights: " in said


def test_two_steps_take_the_place_of_the_prediction(studio, written):
    before = predicted(studio, written())
    ran = luthier(studio, "memory", written(), "--probe", "--json")
    assert ran.code == 0, ran.err
    found = ran.document
    measured = found["measured"]
    assert measured["peak_memory_bytes"] >= 0.9 * max(measured["phases"].values()) and set(measured["phases"]) >= PHASES
    assert measured["seen"]["rows"] == measured["tried"]["rows"] == 2, "the batch of the spec"
    assert found["is_measured"] and found["allocated_bytes"] == measured["peak_memory_bytes"]
    assert found["predicted_bytes"] == before["allocated_bytes"]
    again = predicted(studio, written())
    assert again["is_measured"] and again["allocated_bytes"] == found["allocated_bytes"]
    other = predicted(studio, written("lora_r: 16\n"))
    assert not other["is_measured"] and other["allocated_bytes"] >= found["allocated_bytes"]


@pytest.mark.parametrize("words", [(), ("--probe",)], ids=["predicted", "measured"])
def test_all_faults_of_a_spec_are_told_together(studio, written, words):
    ran = luthier_here(studio, "memory", written("learning_rate: -1\nlora_r: 0\n"), *words)
    assert (ran.code, ran.out) == (2, "") and "Traceback" not in ran.err
    assert "learning_rate" in ran.err and "lora_r" in ran.err

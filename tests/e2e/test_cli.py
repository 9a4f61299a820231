"""The main job on the command line with the small starter model, and refusals in plain sentences."""

import json
import os
import urllib.request
from pathlib import Path

import psutil
import pytest

from studio.paths import Workspace, workspace
from studio.protocol import read_spec
from tests.e2e.luthier import luthier, luthier_here
from tests.e2e.server import Server, end_everything, wait_until

ROWS = [
    {"prompt": f"What is {left} plus {right}?", "completion": f"Sure! The answer is {left + right}."}
    for left in range(6)
    for right in range(5)
]
QUICK = "max_steps: 3\nper_device_train_batch_size: 2\ngradient_accumulation_steps: 1\nsave_steps: 2\n"


@pytest.fixture
def rows_file(tmp_path):
    path = tmp_path / "sums.jsonl"
    lines = [json.dumps(row) for row in ROWS]
    lines.insert(4, '{"prompt": "What is broken?", "completion":')
    lines.append(json.dumps({"prompt": "What has no answer?", "completion": ""}))
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


@pytest.fixture
def studio(workspace_with_small_starter: Workspace):
    """A workspace whose servers, started by commands, are gone afterwards."""
    yield workspace_with_small_starter
    end_everything(workspace_with_small_starter)


@pytest.fixture(scope="module")
def left_alone(tmp_path_factory):
    """A workspace whose server a command started, with no hub in reach; the command, and the server's process."""
    place = workspace(tmp_path_factory.mktemp("left") / "luthier").make()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
        patch.setenv("HF_HUB_OFFLINE", "0")
        ran = luthier(place, "models", "add", "nobody/no-such-model")
    yield place, ran, json.loads(place.server_json.read_text())["pid"]
    end_everything(place)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """An empty studio whose server runs already, for commands that change nothing."""
    place = workspace(tmp_path_factory.mktemp("refused") / "luthier").make()
    server = Server(place).start()
    yield place
    assert server.stop() == 0


def test_the_main_job_without_a_browser(studio, rows_file, tmp_path):
    imported = luthier(studio, "data", "import", rows_file, "--name", "sums", "--json")
    assert imported.code == 0, imported.err
    assert imported.document["rows"] == 30
    assert [problem["row"] for problem in imported.document["problems"]] == [5, 32]
    assert imported.document["format"] == "prompt_completion"

    fixed = luthier_here(studio, "data", "fix", "sums", "--exclude", "5", "--json")
    assert [problem["row"] for problem in fixed.document["problems"] if problem["row"] == 32]
    assert fixed.document["version"] == 2
    assert luthier_here(studio, "data", "rollback", "sums", "1", "--json").document[1]["is_current"]

    spec = tmp_path / "spec.yaml"
    spec.write_text(f"model_name_or_path: starter\ndataset: sums\nrun_name: first try\n{QUICK}")
    predicted = luthier_here(studio, "memory", spec, "--json").document
    assert predicted["allocated_bytes"] == predicted["phases"][predicted["peak_phase"]] > predicted["resting_bytes"]
    assert predicted["verdict"] == "fits" and not predicted["is_measured"]
    trained = luthier(studio, "train", spec, "--wait", "--json")
    assert trained.code == 0, trained.err + trained.out
    job = trained.document
    corrected = luthier_here(studio, "memory", spec, "--json").document
    assert corrected["is_measured"] and corrected["allocated_bytes"] == job["figures"]["peak_memory_bytes"]
    assert corrected["predicted_bytes"] == predicted["allocated_bytes"]
    assert (job["state"], job["title"], job["metrics"]["step"]) == ("succeeded", "first try", 3)
    assert [checkpoint["step"] for checkpoint in job["checkpoints"]] == [2, 3]
    assert all(os.path.isdir(checkpoint["path"]) for checkpoint in job["checkpoints"])
    assert sorted(job["chosen"]) == [
        "gradient_accumulation_steps",
        "max_steps",
        "per_device_train_batch_size",
        "save_steps",
    ]
    assert job["values"]["learning_rate"] > 0
    rows = read_spec(studio.attempt(job["id"], 1)).dataset
    manifest = json.loads((Path(rows.path) / "manifest.json").read_text())
    assert (rows.version, rows.content_hash) == (1, manifest["content_hash"]), "a run stores the hash of its version"

    saved = [checkpoint["id"] for checkpoint in job["checkpoints"]]
    combined = luthier_here(studio, "combine", *(f"{each}=0.5" for each in saved), "--wait", "--json")
    assert combined.code == 0, combined.err + combined.out
    exported = luthier_here(studio, "export", saved[-1], "--wait", "--json")
    assert exported.code == 0, exported.err + exported.out
    assert (studio.exports / "first-try-step-3" / "adapter_model.safetensors").stat().st_size > 1000

    prompts = tmp_path / "prompts.txt"
    prompts.write_text("What is 2 plus 2?\n")
    columns = ["starter", *saved, combined.document["checkpoints"][0]["id"]]
    compared = luthier(studio, "compare", *columns, "--prompts", prompts, "--max-new-tokens", 8, "--json")
    assert compared.code == 0, compared.err
    assert [answer["state"] for answer in compared.document["answers"]] == ["done"] * 4
    assert all(answer["text"].strip() for answer in compared.document["answers"])

    shown = luthier_here(studio, "jobs", "--json").document
    assert [entry["id"] for entry in shown] == [job["id"]]
    assert "loss" in luthier_here(studio, "jobs", "show", job["id"], "--json").document["metrics"]


def test_a_model_is_not_fetched_without_a_network(left_alone):
    _, ran, _ = left_alone
    assert ran.code == 1
    assert "nobody/no-such-model" in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("jobs", "show", 99), "99"),
        (("jobs", "stop", 99), "99"),
        (("data", "import", "/no/such/file.jsonl"), "/no/such/file.jsonl"),
        (("data", "check", "nothing"), "nothing"),
        (("models", "add", "/no/such/folder"), "/no/such/folder"),
        (("train", "/no/such/spec.yaml"), "/no/such/spec.yaml"),
    ],
)
def test_a_refused_input_is_a_sentence_and_exit_code_2(running, arguments, told):
    ran = (luthier if arguments[0] == "train" else luthier_here)(running, *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert told in ran.err
    assert "Traceback" not in ran.err


def test_all_faults_of_a_spec_are_told_together(running, tmp_path):
    spec = tmp_path / "spec.yaml"
    spec.write_text("model_name_or_path: nobody\ndataset: nothing\n")
    ran = luthier_here(running, "train", spec)
    assert ran.code == 2
    assert "nobody" in ran.err and "nothing" in ran.err


def test_a_second_server_is_refused_with_the_address_of_the_first(running):
    second = luthier(running, "ui", "--no-browser")
    assert second.code == 2
    assert json.loads(running.server_json.read_text())["url"] in second.err
    assert "Traceback" not in second.err


def test_a_taken_port_is_no_obstacle(running, tmp_path):
    url = json.loads(running.server_json.read_text())["url"]
    other = Server(workspace(tmp_path / "other").make(), port=int(url.rpartition(":")[2])).start()
    try:
        assert other.url != url
        with urllib.request.urlopen(f"{other.url}/api/health") as answer:
            assert json.load(answer)["workspace"] == str(tmp_path / "other")
    finally:
        assert other.stop() == 0


def test_a_server_started_by_a_command_leaves_when_nothing_is_left_to_do(left_alone):
    # Last in this file: while the tests above ran, that server was waiting already.
    place, _, pid = left_alone
    wait_until(lambda: not psutil.pid_exists(pid), seconds=40)
    assert not place.server_json.exists()

"""Inventory and token lengths, and a hub that cannot be reached."""

from pathlib import Path

import pytest
from transformers import AutoConfig

from studio.memory.inventory import from_figures
from tests.trainers.jobs import model_ref, run, run_here, write_dataset, write_spec
from trainers import inspect


def test_the_starter_is_counted_and_its_rows_are_shown_as_trained(tmp_path: Path, starter: Path) -> None:
    rows = [{"prompt": f"Question {i}?", "completion": "Yes. " * i} for i in range(1, 101)]
    data = write_dataset(tmp_path / "data", rows)
    folder = write_spec(tmp_path / "job", kind="inspect", dataset=data, model=model_ref(starter))
    result = run("trainers.inspect", folder)
    assert result.outcome == "succeeded", result
    found, tokens = result.figures["inventory"], result.figures["tokens"]
    assert (found["architecture"], found["parameters"]) == ("LlamaForCausalLM", 134_515_008)
    assert found["tied_embeddings"] and found["has_chat_template"] and found["num_hidden_layers"] == 30
    by_name = {each["name"]: each for each in found["modules"]}
    up = by_name["model.layers.*.mlp.up_proj"]
    assert (up["kind"], up["shape"], up["count"]) == ("Linear", [1536, 576], 30)
    assert {each["kind"] for each in found["modules"]} == {"Embedding", "Linear", "Norm"}
    assert tokens["rows"] == tokens["sampled_rows"] == 100 and not tokens["is_sample"]
    assert tokens["lengths"]["p50"] < tokens["lengths"]["p90"] < tokens["lengths"]["max"] <= 512
    assert tokens["share_above"]["512"] == 0
    first = result.figures["samples"][0]
    assert [is_trained for _, is_trained in first] == [False, True]
    assert "Question 1?" in first[0][0] and first[1][0].startswith("Yes.")


@pytest.mark.parametrize(
    ("family", "kernels", "has_experts"),
    [
        ("llama", ["eager", "sdpa", "flash_attention_2"], False),
        ("gemma2", ["eager", "flash_attention_2"], False),
        ("bloom", ["eager"], False),
        ("mixtral", ["eager", "sdpa", "flash_attention_2"], True),
    ],
)
def test_what_a_family_can_do_is_told(family: str, kernels: list[str], has_experts: bool) -> None:
    figures = inspect.figures_of(AutoConfig.for_model(family))
    assert figures["attention"] == kernels
    assert from_figures(figures).has_fused_experts == has_experts


def test_only_rows_that_train_are_measured_and_shown(tmp_path: Path, tiny: Path) -> None:
    sides = ["test", "train", "validation", "train"]
    rows = [
        {"prompt": f"Question {n}?", "completion": "Yes. " * 10 ** (n % 2), "split": s} for n, s in enumerate(sides)
    ]
    data = write_dataset(tmp_path / "data", rows)
    folder = write_spec(tmp_path / "job", kind="inspect", dataset=data, model=model_ref(tiny))
    result = run_here(inspect.main, folder)
    tokens, samples = result.figures["tokens"], result.figures["samples"]
    assert (tokens["rows"], tokens["sampled_rows"], tokens["held_out"]) == (2, 2, {"test": 1, "validation": 1})
    assert [f"Question {n}?" in sample[0][0] for n, sample in zip((1, 3), samples, strict=True)] == [True, True]
    assert tokens["lengths"]["p50"] == tokens["lengths"]["max"]


def test_a_folder_that_is_no_language_model_is_a_sentence(tmp_path: Path, tiny: Path) -> None:
    import shutil

    folder = shutil.copytree(tiny, tmp_path / "odd")
    (folder / "config.json").write_text('{"architectures": ["Odd"], "model_type": "odd"}')
    attempt = write_spec(tmp_path / "job", kind="inspect", model=model_ref(folder))
    assert run_here(inspect.main, attempt).reason in ("job.model_unreadable", "job.tokenizer_unreadable")


def test_no_network_is_a_sentence(tmp_path: Path) -> None:
    folder = write_spec(tmp_path / "job", kind="fetch", values={"model": "owner/name"})
    # HF_HUB_OFFLINE is set for all tests; a mirror on a closed port is what a cut line looks like.
    result = run("trainers.fetch", folder, HF_ENDPOINT="http://127.0.0.1:9", HF_HUB_OFFLINE="0")
    assert (result.outcome, result.reason) == ("failed", "job.hub_unreachable")

"""Inventory and token lengths, and a hub that cannot be reached."""

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForImageTextToText

from studio.memory.estimate import Shapes, estimate
from studio.memory.inventory import from_figures
from studio.memory.notes import uncertainty
from tests.trainers.jobs import model_ref, run, run_here, write_dataset, write_spec
from tests.unit.memory.test_estimate import settings
from trainers import inspect


def test_the_starter_is_counted_and_its_rows_are_shown_as_trained(tmp_path: Path, starter: Path) -> None:
    rows = [{"prompt": f"Question {i}?", "completion": "Yes. " * i} for i in range(1, 101)]
    data = write_dataset(tmp_path / "data", rows)
    folder = write_spec(tmp_path / "job", kind="inspect", dataset=data, model=model_ref(starter))
    result = run_here(inspect.main, folder)
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


@pytest.fixture
def lengths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict]:
    """What an inspection tells of the tokens of rows, of which it reads every fourth."""
    monkeypatch.setattr(inspect, "MAX_ROWS", 10)

    def looked(model: Path, rows: list[dict[str, Any]]) -> dict:
        place = Path(tempfile.mkdtemp(dir=tmp_path))
        data = write_dataset(place / "rows", rows)
        folder = write_spec(place / "job", kind="inspect", model=model_ref(model), dataset=data)
        return run_here(inspect.main, folder).figures["tokens"]

    return looked


def test_the_longest_of_many_rows_is_found_though_not_all_are_read(tiny: Path, lengths: Callable[..., dict]) -> None:
    rows = [{"prompt": f"What is {n}?", "completion": "so " * (90 if n == 17 else n % 3)} for n in range(40)]
    found, alone = lengths(tiny, rows), lengths(tiny, rows[17:18])
    assert found["is_sample"] and found["lengths"]["max"] == alone["lengths"]["max"] > found["lengths"]["p99"]


def chats(*, tools: list[Any], words: int = 1) -> list[dict[str, Any]]:
    """Forty short ones, of which the eighteenth has these tools and a longer question."""
    odd = 17
    return [
        {
            "messages": [
                {"role": "user", "content": "so " * (words if n == odd else 1)},
                {"role": "assistant", "content": "Yes."},
            ],
            "tools": json.dumps(tools if n == odd else []),
        }
        for n in range(40)
    ]


def test_tools_make_a_row_long_where_the_template_shows_them(
    tmp_path: Path, tiny: Path, lengths: Callable[..., dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspect, "NUM_LONGEST", 1)
    shows = tmp_path / "shows"
    shutil.copytree(tiny, shows)
    template = (tiny / "chat_template.jinja").read_text("utf-8")
    (shows / "chat_template.jinja").write_text("{{ tools | tojson }}" + template, "utf-8")
    tool = {"type": "function", "function": {"name": "find", "description": "so " * 90}}
    rows = chats(tools=[tool])
    found, alone = lengths(shows, rows), lengths(shows, rows[17:18])
    assert found["lengths"]["max"] == alone["lengths"]["max"] > found["lengths"]["p99"]

    longer = chats(tools=[], words=20)
    longer[18]["tools"] = json.dumps([tool])
    found, alone = lengths(tiny, longer), lengths(tiny, longer[17:18])
    assert found["lengths"]["max"] == alone["lengths"]["max"], "a template that leaves tools out is not misled by them"


def test_a_longest_row_without_an_answer_is_none(
    tiny: Path, lengths: Callable[..., dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspect, "NUM_LONGEST", 1)
    rows = chats(tools=[], words=90)
    rows[17]["messages"].pop()
    found = lengths(tiny, rows)
    assert found["lengths"]["max"] == found["lengths"]["p99"]


def test_a_folder_that_is_no_language_model_is_a_sentence(tmp_path: Path, tiny: Path) -> None:
    folder = shutil.copytree(tiny, tmp_path / "odd")
    (folder / "config.json").write_text('{"architectures": ["Odd"], "model_type": "odd"}')
    attempt = write_spec(tmp_path / "job", kind="inspect", model=model_ref(folder))
    assert run_here(inspect.main, attempt).reason in ("job.model_unreadable", "job.tokenizer_unreadable")


def test_no_network_is_a_sentence(tmp_path: Path) -> None:
    folder = write_spec(tmp_path / "job", kind="fetch", values={"model": "owner/name"})
    # HF_HUB_OFFLINE is set for all tests; a mirror on a closed port is what a cut line looks like.
    result = run("trainers.fetch", folder, HF_ENDPOINT="http://127.0.0.1:9", HF_HUB_OFFLINE="0")
    assert (result.outcome, result.reason) == ("failed", "job.hub_unreachable")


def whole_count(config, names: list[str], rank: int) -> int:
    """Weights that peft adds to the whole model."""
    from peft import LoraConfig, get_peft_model

    targets = "all-linear" if names == ["all-linear"] else names
    model = get_peft_model(inspect.build(config), LoraConfig(r=rank, target_modules=targets))
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


SMALL = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "vocab_size": 256}
ODD_LAYERS = {
    # Its first layer is dense and the others are experts.
    "deepseek_v3": {"num_hidden_layers": 4, "first_k_dense_replace": 1, "n_routed_experts": 8, "num_experts_per_tok": 2}
    | {"moe_intermediate_size": 32, "n_group": 1, "topk_group": 1, "num_key_value_heads": 4, "q_lora_rank": 16}
    | {"kv_lora_rank": 16},
    "mixtral": {"num_hidden_layers": 3, "num_local_experts": 4},
    "gemma3_text": {"num_hidden_layers": 7},
    "gpt2": {"n_embd": 64, "n_layer": 3, "n_head": 4},
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", ODD_LAYERS)
def test_one_layer_of_each_sort_tells_what_peft_adds_to_all(family: str) -> None:
    config = AutoConfig.for_model(family, **SMALL | ODD_LAYERS[family])
    (found,) = inspect.adapters_of(inspect.build(config), [["all-linear"]])
    assert found["weights_per_rank"] * 8 == whole_count(config, ["all-linear"], 8)


@pytest.mark.filterwarnings("ignore")
def test_what_peft_would_refuse_is_told() -> None:
    config = AutoConfig.for_model("llama", **SMALL, num_hidden_layers=2)
    fits, refused = inspect.adapters_of(inspect.build(config), [["q_proj", "v_proj"], ["w_pack"]])
    assert fits["weights_per_rank"] == 2 * 2 * (64 + 64) and "w_pack" in refused["error"]


def test_linear_layers_that_are_squeezed_are_those_that_transformers_squeezes() -> None:
    from transformers import BitsAndBytesConfig
    from transformers.integrations.bitsandbytes import replace_with_bnb_linear
    from transformers.quantizers.base import get_keys_to_not_convert

    for family in ("mixtral", "gpt2", "gpt_neox"):
        config = AutoConfig.for_model(family, **SMALL | ODD_LAYERS.get(family, {"num_hidden_layers": 2}))
        told = {each["name"] for each in inspect.figures_of(config)["modules"] if each["is_quantised"]}
        model = inspect.build(config)
        replace_with_bnb_linear(model, get_keys_to_not_convert(model), BitsAndBytesConfig(load_in_4bit=True))
        squeezed = {
            inspect._pattern(name) for name, each in model.named_modules() if type(each).__name__ == "Linear4bit"
        }
        assert told == squeezed and told


def test_experts_can_be_counted_as_older_transformers_had_them() -> None:
    found = from_figures(inspect.figures_of(AutoConfig.for_model("mixtral", **SMALL, num_hidden_layers=3)))
    old = found.before_5()
    assert old.parameters == found.parameters
    names = {module.last_name: (module.shape, module.count) for module in old.quantised}
    assert names["w1"] == names["w3"] == ((96, 64), 8 * 3) and names["w2"] == ((64, 96), 8 * 3)
    assert names["gate"] == ((8, 64), 3) and len(found.quantised) == 4 and old.before_5() is old


@pytest.mark.parametrize(("family", "is_stateful"), [("mamba", True), ("llama", False)])
def test_a_state_in_place_of_keys_and_values_is_told(family: str, is_stateful: bool) -> None:
    config = AutoConfig.for_model(family, **SMALL, num_hidden_layers=2)
    assert from_figures(inspect.figures_of(config)).is_stateful is is_stateful


READS = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
TOWER = {**READS, "num_hidden_layers": 3, "image_size": 28, "patch_size": 14}
SEEING: dict[str, dict[str, Any]] = {
    "llava": {"text_config": {"model_type": "llama"}, "vision_config": {"model_type": "clip_vision_model", **TOWER}},
    "mistral3": {"text_config": {"model_type": "mistral"}, "vision_config": {"model_type": "pixtral", **TOWER}},
    "qwen2_5_vl": {
        "text_config": {},
        "vision_config": {
            "depth": 3,
            "hidden_size": 48,
            "intermediate_size": 96,
            "num_heads": 4,
            "out_hidden_size": 64,
        },
    },
}


@pytest.mark.parametrize("family", SEEING)
def test_a_tower_counts_with_all_its_weights_and_what_it_keeps_widens_the_band(family: str) -> None:
    parts = SEEING[family]
    text = {**parts["text_config"], **READS, "num_key_value_heads": 2, "vocab_size": 152_000}
    config = AutoConfig.for_model(family, text_config=text, vision_config=parts["vision_config"])
    model = AutoModelForImageTextToText.from_config(config, dtype=torch.bfloat16)
    inventory = replace(from_figures(inspect.figures_of(config)), family=family)
    assert inventory.parameters == sum(weight.numel() for weight in model.parameters())
    tower = [module for module in inventory.modules if {"vision_tower", "visual"} & set(module.name.split("."))]
    seen = sum(
        weight.numel() for name, weight in model.named_parameters() if "vision_tower" in name or "visual" in name
    )
    assert sum(module.parameters for module in tower) == seen > 0
    blind = replace(inventory, modules=tuple(module for module in inventory.modules if module not in tower))
    with_tower, without = (estimate(each, settings(tuning="lora"), shapes=Shapes(200)) for each in (inventory, blind))
    assert with_tower.phases["load"]["weights"] - without.phases["load"]["weights"] == 2 * seen
    assert set(with_tower.notes) - set(without.notes) == {"tower_not_counted"}
    for found in (with_tower, without):
        low, high = found.reserved_bytes
        doubt = uncertainty(found.notes)
        assert (low, high) == (int(found.allocated_bytes * (1.01 - doubt)), int(found.allocated_bytes * (1.25 + doubt)))
    assert uncertainty(with_tower.notes) > uncertainty(without.notes)

"""Models of a family that is followed line by line: what their config says is what transformers builds."""

import json
import time
from pathlib import Path

import pytest

from studio.memory import survey as surveys
from studio.memory.estimate import Shapes, estimate
from studio.memory.inventory import FOLLOWED, Inventory, from_figures
from studio.memory.stack import installed_stack
from studio.memory.survey import SHIPPED, followed_of, survey
from studio.memory.ways import mode_of
from tests.unit.memory.test_estimate import LLAMA_8B, settings

SHIPS = [
    pytest.param(model, id=model["name"])
    for family in sorted(FOLLOWED - {"mixtral"})
    for model in json.loads((SHIPPED / f"{family}.json").read_text("utf-8"))["models"]
]


def modules(model: Inventory) -> list[tuple[object, ...]]:
    return sorted((each.kind, each.name, each.shape, each.count) for each in model.modules)


@pytest.mark.parametrize("ships", SHIPS)
def test_a_config_alone_tells_the_modules_that_transformers_built(ships) -> None:
    built, told = from_figures(ships["inventory"]), followed_of(ships["config"])
    assert told is not None and modules(told) == modules(built)
    assert [module.name for module in told.quantised] == [module.name for module in built.quantised]
    for name in ("key_width", "num_heads", "intermediate_size", "attention", "has_head", "hidden_size", "vocab_size"):
        assert getattr(told, name) == getattr(built, name), name


def test_a_new_one_of_70b_is_answered_at_once_and_without_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surveys, "_ask", lambda request: pytest.fail(f"a process was asked: {request}"))
    config = {**LLAMA_8B, "hidden_size": 8192, "intermediate_size": 28_416, "num_hidden_layers": 79}
    values = {**settings(tuning="qlora"), "lora_r": 8, "gradient_checkpointing": True}
    begun = time.process_time()
    model = survey(config, cache=tmp_path, targets=[("q_proj",)], modes=[mode_of(values, stack=installed_stack())])
    found = estimate(model, values, shapes=Shapes(1024))
    assert time.process_time() - begun < 1.0  # ten seconds are promised, on a clock that others share
    assert found.notes == () and model.parameters > 65e9 and not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": "gemma2"},
        {"num_local_experts": 8},
        {"num_attention_heads": 30, "hidden_size": 4000},
        {"num_key_value_heads": 7},
    ],
    ids=str,
)
def test_what_is_not_known_line_by_line_is_built(changes: dict[str, object]) -> None:
    assert followed_of({**LLAMA_8B, **changes}) is None

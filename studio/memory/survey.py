"""The inventory of a model that is known by its config.json alone, layer traces included.

    survey(config, cache=workspace.cache / "surveys", targets=("all-linear",), modes=[...])  ->  Inventory

Three places are asked in turn: what ships with the studio (templates/memory), what earlier questions left in `cache`,
and a short process that builds the model without weights (`trainers.survey`, seconds). Nothing here imports torch. What
is kept belongs to the config's own dimensions and to the versions of the libraries.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from studio.errors import RefusedInput
from studio.memory.config_fields import check_dimensions, has_experts, significant, sizes
from studio.memory.inventory import FOLLOWED, Inventory, from_config, from_figures
from studio.memory.layers import Mode
from studio.memory.stack import installed_stack
from studio.paths import PROJECT_ROOT, TEMPLATES

SHIPPED = TEMPLATES / "memory"
LIBRARIES = ("torch", "transformers", "peft")
"""What an inventory and a trace come from."""
PATIENCE_SECONDS = 180
ATTENTION = ("eager", "sdpa", "flash_attention_2")
"""Kernels that every followed family's code works with."""


def survey(
    config: Mapping[str, Any],
    *,
    cache: Path,
    targets: Iterable[tuple[str, ...]] = (),
    modes: Iterable[Mode] = (),
) -> Inventory:
    """The inventory, with what peft adds to `targets` and with traces of `modes` where they can be made.

    A family that is followed line by line needs neither.

    Raises:
        RefusedInput: memory.no_family, memory.odd_dimension, memory.unknown_family, memory.unbuildable.
    """
    check_dimensions(config)
    there, followed = _known(config, cache), followed_of(config)
    if followed:
        return _inventory(there, config) if there else followed
    wanted = _missing(there, targets, modes)
    if wanted is not None:
        found = _ask({"config": dict(config), **wanted})
        if "error" in found:
            return _without_code(config, found["error"])
        there = _merged(there, found, wanted)
        _keep(cache / f"{key_of(config)}.json", there)
    return _inventory(there, config)


def known(config: Mapping[str, Any], *, cache: Path) -> Inventory | None:
    """The inventory without asking a process, if it ships or was asked before.

    Raises:
        RefusedInput: memory.no_family, memory.odd_dimension.
    """
    check_dimensions(config)
    found = _known(config, cache)
    return _inventory(found, config) if found else followed_of(config)


def followed_of(config: Mapping[str, Any]) -> Inventory | None:
    """A model of a family that `studio.memory.decoder` follows: its modules are known from the config's own fields.

    None for another family, for experts (which libraries lay out in more than one way), and for dimensions that
    transformers may have something to say of.
    """
    family = config.get("model_type")
    path = SHIPPED / f"{family}.json"
    if family not in FOLLOWED or has_experts(config) or not path.exists():
        return None
    whole = {**json.loads(path.read_text("utf-8"))["defaults"], **config}
    heads, keys = whole["num_attention_heads"], whole.get("num_key_value_heads")
    even = whole.get("head_dim") or (heads and whole["hidden_size"] % heads == 0)
    if not even or (keys and heads % keys):
        return None
    return replace(from_config(whole), attention=ATTENTION)


def key_of(config: Mapping[str, Any]) -> str:
    told = json.dumps([significant(config), versions()], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:32]


def versions() -> dict[str, str]:
    """Without what a library was built for: a trace made beside torch 2.13.0+cpu holds for 2.13.0+cu130."""
    installed = installed_stack().versions
    return {name: installed[name].partition("+")[0] for name in LIBRARIES if name in installed}


def shipped(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """What ships for a model of these dimensions, if it was made with the installed libraries."""
    path = SHIPPED / f"{config.get('model_type')}.json"
    if not str(config.get("model_type")).isidentifier() or not path.exists():
        return None
    family = json.loads(path.read_text("utf-8"))
    if family["versions"] != versions():
        return None
    asked = sizes(config, family["defaults"])
    found = next((each for each in family["models"] if sizes(each["config"], family["defaults"]) == asked), None)
    return found and {**found, "profiles": [_unpacked(each, family["modes"]) for each in found["profiles"]]}


def _unpacked(packed: list[Any], modes: list[dict[str, Any]]) -> dict[str, Any]:
    """`[3, sizes]` -> the fourth of the family's modes, and the sizes."""
    return {"mode": modes[packed[0]], "sizes": packed[1]}


def _inventory(known: Mapping[str, Any], config: Mapping[str, Any]) -> Inventory:
    found = from_figures({**known["inventory"], "adapters": known["adapters"], "profiles": known["profiles"]})
    return replace(found, family=str(config["model_type"]))


def _known(config: Mapping[str, Any], cache: Path) -> dict[str, Any] | None:
    found = shipped(config)
    path = cache / f"{key_of(config)}.json"
    if path.exists():
        kept = json.loads(path.read_text("utf-8"))
        found = kept if found is None else _merged(found, kept, {})
    return found


def _missing(
    known: Mapping[str, Any] | None, targets: Iterable[tuple[str, ...]], modes: Iterable[Mode]
) -> dict[str, Any] | None:
    """What the short process has to find out; None where everything is known."""
    found = known or {"adapters": [], "profiles": [], "untraced": []}
    counted = [each["targets"] for each in found["adapters"]]
    traced = [each["mode"] for each in found["profiles"]] + found.get("untraced", [])
    needs_inventory = known is None
    names = [list(each) for each in targets if list(each) not in counted]
    if known and not from_figures(known["inventory"]).has_fused_experts:
        names = []  # then peft goes by the last names of linear layers, and they can be counted without it
    ways = [mode.document() for mode in modes if mode.document() not in traced]
    if not (needs_inventory or names or ways):
        return None
    return {"inventory": needs_inventory or bool(names), "targets": names, "modes": ways}


def _merged(known: Mapping[str, Any] | None, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    known = known or {}
    traced = [each["mode"] for each in found["profiles"]]
    return {
        "inventory": found.get("inventory") or known["inventory"],
        **{name: [*known.get(name, ()), *found.get(name, ())] for name in ("adapters", "profiles")},
        "untraced": [
            *known.get("untraced", ()),
            *found.get("untraced", ()),
            *(mode for mode in wanted.get("modes", ()) if mode not in traced),
        ],
    }


def _ask(request: Mapping[str, Any]) -> dict[str, Any]:
    """The short process's answer."""
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "PYTHONWARNINGS": "ignore",
        "CUDA_VISIBLE_DEVICES": "",
    }
    with tempfile.TemporaryDirectory(prefix="luthier-") as folder:
        asked, answered = Path(folder) / "request.json", Path(folder) / "answer.json"
        asked.write_text(json.dumps(request), "utf-8")
        command = [sys.executable, "-m", "trainers.survey", str(asked), str(answered)]
        try:
            ran = subprocess.run(
                command, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS
            )
        except subprocess.TimeoutExpired:
            return {"error": f"no answer within {PATIENCE_SECONDS} s"}
        if not answered.exists():
            return {"error": (ran.stderr.strip().splitlines() or [f"exit code {ran.returncode}"])[-1][:300]}
        return json.loads(answered.read_text("utf-8"))


def _keep(path: Path, known: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}")
    unfinished.write_text(json.dumps(known), "utf-8")
    unfinished.replace(path)


def _without_code(config: Mapping[str, Any], error: str) -> Inventory:
    """A family that transformers does not know, taken for a Llama-like one where it has those dimensions."""
    try:
        return from_config(config, any_family=True)
    except RefusedInput:
        raise RefusedInput("memory.unbuildable", family=config["model_type"], error=error) from None

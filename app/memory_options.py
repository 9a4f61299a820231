"""The options of `luthier memory --config`: words of the command line -> settings, library versions, what to ignore.

    ["--tuning", "dora", "--weights-dtype", "bfloat16", "--stack", "trl=0.13"]
        -> Asked(method="sft", values={"tuning": "lora", "use_dora": True, "dtype": "bfloat16", ...}, stack=Stack(...))

Names are those of the parameter tables; a few have a second name here, and methods that have no table yet add theirs.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from studio.errors import Fault, RefusedInput, SpecRefused
from studio.memory.adapters import TUNINGS
from studio.memory.methods import method_of
from studio.memory.stack import LIBRARIES, Stack, installed_stack
from studio.params.table import check, parameters

NAMED = {"model_name_or_path": "-", "dataset": "-"}
"""A bare config has neither, and the table wants both."""
SECOND_NAMES = {"weights_dtype": "dtype", "autocast": "mixed_precision", "attention": "attn_implementation"}
SECOND_TUNINGS: Mapping[str, Mapping[str, Any]] = {
    "dora": {"tuning": "lora", "use_dora": True},
    "qdora": {"tuning": "qlora", "use_dora": True},
    "rslora": {"tuning": "lora", "use_rslora": True},
    "qlora_8bit": {"tuning": "qlora", "load_in_8bit": True},
    "prefix": {"tuning": "prefix_tuning"},
    "prompt": {"tuning": "prompt_tuning"},
    "adapter": {"tuning": "bottleneck"},
}
LOSS_KERNELS = ("plain", "chunked", "liger")
OF_METHODS: Mapping[str, tuple[float, float] | None] = {
    "num_generations": (1, 1024),
    "max_prompt_length": (1, 2**20),
    "max_completion_length": (1, 2**20),
    "beta": (0, 1000),
    "steps_per_generation": (1, 1024),
    "num_iterations": (1, 1024),
    **dict.fromkeys(("precompute_ref_log_probs", "value_model", "reward_model", "use_vllm")),
}
"""Settings that the table of examples has not: bounds of numbers, None for those that are on or off."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    method: str
    values: Mapping[str, Any]
    """Checked and complete, for the calculator."""
    given: Mapping[str, Any]
    """What was said, by the table's names; the rest is the table's default."""
    stack: Stack
    ignored: tuple[str, ...] = ()
    """Settings that have no effect beside the others."""

    @property
    def targets(self) -> list[str]:
        """Modules that LoRA sits on; empty with another tuning."""
        return list(self.values["lora_target_modules"]) if self.values["tuning"] in ("lora", "qlora") else []

    def of_table(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Those of these values that the parameter table knows."""
        known = {each.name for each in parameters("sft")}
        return {name: value for name, value in values.items() if name in known}


def asked(words: list[str]) -> Asked:
    """
    Raises:
        SpecRefused: unknown names, and values that cannot be, all together.
        RefusedInput: no such method, or versions that are none.
    """
    said = _said(words)
    stack = _stack(said)
    method = str(said.pop("method", "sft"))
    method_of(method)
    beyond = {name: _checked(name, said.pop(name)) for name in list(said) if name in OF_METHODS}
    tuning = said.get("tuning")
    if tuning == "prefix_tuning":  # whose layers cannot be computed again
        said.setdefault("gradient_checkpointing", False)
    plain = {**said, "tuning": in_table(tuning)} if tuning else said
    plain, ignored = _with_effect(plain)
    values = {**check({**NAMED, **_without_validation(plain)}), **beyond, "method": method}
    if tuning:
        values["tuning"] = tuning
    return Asked(method=method, values=values, given={**said, **beyond}, stack=stack, ignored=ignored)


def _said(words: list[str]) -> dict[str, Any]:
    """`["--lora-r", "16", "--packing"]` -> `{"lora_r": "16", "packing": True}`.

    Raises:
        SpecRefused: words that are no setting.
    """
    switches = {each.name for each in parameters("sft") if each.type == "bool"} | {"kbit_prep"}
    switches |= {name for name, bounds in OF_METHODS.items() if bounds is None}
    known = {each.name for each in parameters("sft")} | OF_METHODS.keys() | switches | {"stack", "loss_kernel"}
    said: dict[str, Any] = {}
    faults: list[Fault] = []
    for word, value in _pairs(words):
        name = word.removeprefix("--").replace("-", "_")
        is_off = name.startswith("no_") and name.removeprefix("no_") in switches
        name = name.removeprefix("no_") if is_off else SECOND_NAMES.get(name, name)
        if not word.startswith("--") or name not in known:
            faults.append(Fault(word, "spec.unknown"))
        elif name in switches:
            said[name] = not is_off if value is None else value
        else:
            said[name] = "" if value is None else value
    if faults:
        raise SpecRefused(faults)
    if said.get("mixed_precision") == "none":
        said["mixed_precision"] = "no"
    return said | dict(SECOND_TUNINGS.get(str(said.get("tuning")), {}))


def _pairs(words: list[str]) -> Iterator[tuple[str, str | None]]:
    """Each option with the word after it, where that is none itself: `--beta -1` has one."""
    place = 0
    while place < len(words):
        word, _, joined = words[place].partition("=")
        follows = words[place + 1] if place + 1 < len(words) else None
        if joined and word.startswith("--"):
            yield word, joined
        elif follows is not None and not follows.startswith("--"):
            yield words[place], follows
            place += 1
        else:
            yield words[place], None
        place += 1


def _stack(said: dict[str, Any]) -> Stack:
    """Takes what belongs to the stack out of what was said.

    Raises:
        RefusedInput: a library that does not count, a version that is none, or no such kernel.
    """
    installed, given = installed_stack().versions, str(said.pop("stack", ""))
    versions = dict(installed)
    for part in filter(None, re.split(r"[,\s]+", given)):
        library, _, version = part.replace("==", "=").partition("=")
        if library not in LIBRARIES or not _is_version(version):
            raise RefusedInput("memory.odd_stack", part=part, known=", ".join(LIBRARIES))
        versions[library] = version
    kernel = said.pop("loss_kernel", None)
    if kernel is not None and kernel not in LOSS_KERNELS:
        raise SpecRefused(
            [Fault("loss_kernel", "spec.not_choice", {"value": kernel, "choices": ", ".join(LOSS_KERNELS)})]
        )
    return Stack(versions=versions, loss_kernel=kernel, kbit_prep=_is_on("kbit_prep", said.pop("kbit_prep", False)))


def _is_version(text: str) -> bool:
    from packaging.version import InvalidVersion, Version

    try:
        return bool(Version(text))
    except InvalidVersion:
        return False


def _checked(name: str, value: Any) -> Any:
    """A setting beyond the table.

    Raises:
        SpecRefused: out of bounds, or no number.
    """
    bounds = OF_METHODS[name]
    if bounds is None:
        return _is_on(name, value)
    try:
        number = float(value)
    except ValueError:
        raise SpecRefused([Fault(name, "spec.not_float", {"value": value})]) from None
    low, high = bounds
    if not low <= number <= high:
        code, limit = ("spec.too_large", high) if number > high else ("spec.too_small", low)
        raise SpecRefused([Fault(name, code, {"value": value, "limit": limit})])
    if name != "beta" and number != int(number):
        raise SpecRefused([Fault(name, "spec.not_int", {"value": value})])
    return number if name == "beta" else int(number)


def _is_on(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if str(value).lower() not in ("true", "false"):
        raise SpecRefused([Fault(name, "spec.not_bool", {"value": value})])
    return str(value).lower() == "true"


def in_table(tuning: str) -> str:
    """The tuning of the table that has the same settings.

    Raises:
        SpecRefused: no such tuning.
    """
    known = {choice.value for each in parameters("sft") if each.name == "tuning" for choice in each.choices}
    if tuning in known:
        return tuning
    if tuning not in TUNINGS:
        choices = ", ".join(dict.fromkeys((*TUNINGS, *SECOND_TUNINGS)))
        raise SpecRefused([Fault("tuning", "spec.not_choice", {"value": tuning, "choices": choices})])
    return "full" if tuning == "freeze" else "lora"


def _with_effect(said: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Without what has no effect beside the rest, `--lora-r` in full training: told, not refused."""
    table = {each.name: each for each in parameters("sft")}
    typed = {name: table[name].default for name in table} | said
    ignored = tuple(name for name in said if name in table and not table[name].applies_to(typed))
    return {name: value for name, value in said.items() if name not in ignored}, ignored


def _without_validation(said: Mapping[str, Any]) -> dict[str, Any]:
    """No held-out rows unless they were asked for: a bare config says nothing of any."""
    is_asked = {"validation_split", "per_device_eval_batch_size"} & said.keys()
    return {**said} if is_asked else {"validation_split": 0, **said}

"""What the calculator says against real steps of every method, family and way of tuning, bytes counted.

    python -m tests.bench.memory [--seconds 150] [--only llama-dpo-lora]     goes on where it stopped
    python -m tests.bench.memory --table [--each]

Each case trains a tiny random model on the CPU with the very trainer of the method (tests/trainers/steps.py) and tells
the most bytes of each part of a step: as seen, as estimated with a trace of this way of training, and without any
trace, by following the layer's source. Results are appended to results.jsonl; --anew estimates again what was seen.
"""

import argparse
import contextlib
import io
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

from studio.memory.estimate import Estimate
from studio.memory.inventory import FOLLOWED
from studio.memory.stack import installed_stack
from tests.trainers.steps import PROMPT, WRITES, watched
from tests.trainers.test_trace import EXPERTS, FAMILIES
from tests.trainers.test_trace_methods import TRIED, TUNINGS, config_of, counted, predicted

RESULTS = Path(__file__).with_name("results.jsonl")
PHASES = {"loss": "forward_and_loss", "backward": "layer_backward", "step": "optimizer_step"}
BEFORE = ("generation", "reference_pass")
WAYS = ("traced", "untraced")

Case = tuple[str, str, str]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=150)
    parser.add_argument("--only", default="", help="a part of family-method-tuning")
    parser.add_argument("--anew", choices=WAYS, action="append", help="estimate again, of what was seen")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--each", action="store_true", help="every case, the worst first")
    asked = parser.parse_args()
    if asked.table:
        return show(is_each=asked.each)
    warnings.simplefilter("ignore")
    if asked.anew:
        return again(asked.only, asked.anew)
    ends_at = time.monotonic() + asked.seconds
    done = {(each["family"], each["method"], each["tuning"]) for each in results()}
    for case in cases():
        if case in done or asked.only not in "-".join(case):
            continue
        if time.monotonic() > ends_at:
            raise SystemExit("not through yet: start it again")
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(result(case), separators=(",", ":")) + "\n")


def cases() -> Iterator[Case]:
    """Every family with every method, with LoRA and all weights; every tuning with every family and every method."""
    yield from product(FAMILIES, (name for name in TRIED if name not in WRITES), ("lora", "full"))
    yield from product(FAMILIES, ("sft",), TUNINGS)
    yield from product(FAMILIES, WRITES, ("lora", "full"))
    yield from product(("llama",), (name for name in TRIED if name != "sft"), TUNINGS)
    yield from product(EXPERTS, TRIED, ("lora", "full"))


def result(case: Case) -> dict[str, Any]:
    family, method, tuning = case
    told: dict[str, Any] = {"family": family, "method": method, "tuning": tuning, "stack": installed_stack().versions}
    settings = TUNINGS[tuning][0] if tuning in TUNINGS else {}
    recomputes = {"gradient_checkpointing": settings.get("gradient_checkpointing", True)}
    try:
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            seen = watched(method, config_of(family), Path(folder), tuning=tuning, **recomputes)
        told["seen"] = {name: size for name, size in asdict(seen).items() if size}
        told |= estimated(case, seen.row_tokens)
    except Exception as error:  # a way of training that the libraries refuse is told, and the next one tried
        told["error"] = f"{type(error).__name__}: {str(error)[:200]}"
    return told


def estimated(case: Case, row_tokens: int, ways: Sequence[str] = WAYS) -> dict[str, dict[str, int]]:
    family, method, tuning = case
    settings = dict(TUNINGS[tuning][0]) if tuning in TUNINGS else {}
    if method in WRITES:
        settings["max_completion_length"] = row_tokens - PROMPT
    named = "lora" if tuning == "dora" else tuning
    found = {way: predicted(family, method, named, row_tokens=row_tokens, way=way, **settings) for way in ways}
    return {way: sizes(each, method) for way, each in found.items()}


def again(only: str, ways: Sequence[str]) -> None:
    told = results()
    for each in told:
        case = (each["family"], each["method"], each["tuning"])
        if "error" not in each and only in "-".join(case):
            each |= estimated(case, each["seen"]["row_tokens"], ways)
    RESULTS.write_text("".join(json.dumps(each, separators=(",", ":")) + "\n" for each in told), "utf-8")


def sizes(found: Estimate, method: str) -> dict[str, int]:
    parts = {name: counted(found, phase) for name, phase in PHASES.items()}
    return parts | ({"before": max(counted(found, phase) for phase in BEFORE)} if method in WRITES else {})


# -- the table --------------------------------------------------------------------------------------------------------


def results() -> list[dict[str, Any]]:
    return [json.loads(line) for line in RESULTS.read_text("utf-8").splitlines()] if RESULTS.exists() else []


def errors(told: dict[str, Any], way: str) -> dict[str, float]:
    """Of each part of a step, weights aside, and of the largest."""
    parts = {name: size / told["seen"][name] - 1 for name, size in told[way].items() if name in told["seen"]}
    return parts | {"peak": max(told[way].values()) / max(told["seen"][name] for name in parts) - 1}


def show(*, is_each: bool) -> None:
    known = [each for each in results() if "error" not in each]
    ways = WAYS
    for kind in ("method", "tuning", "family"):
        for name in dict.fromkeys(each[kind] for each in known):
            group = [each for each in known if each[kind] == name]
            _tell(f"{kind:7}{name:14}{len(group):4}  " + "   ".join(f"{way} {_figures(group, way)}" for way in ways))
    # Experts are followed as they were before transformers 5, and traced since.
    followed = [each for each in known if each["family"] in FOLLOWED - EXPERTS.keys()]
    _tell(
        f"{'families followed':21}{len(followed):4}  " + "   ".join(f"{way} {_figures(followed, way)}" for way in ways)
    )
    _tell(f"{'all':21}{len(known):4}  " + "   ".join(f"{way} {_figures(known, way)}" for way in ways))
    for each in results():
        if "error" in each:
            _tell(f"refused: {each['family']}-{each['method']}-{each['tuning']}: {each['error']}")
    for each in sorted(known, key=lambda one: -_worst(one, "traced")) if is_each else ():
        told = {way: {name: f"{off:+.2%}" for name, off in errors(each, way).items()} for way in ways}
        _tell(f"{each['family']}-{each['method']}-{each['tuning']}: {told['traced']} untraced {told['untraced']}")


def _worst(told: dict[str, Any], way: str) -> float:
    return max(abs(off) for off in errors(told, way).values())


def _figures(group: list[dict[str, Any]], way: str) -> str:
    found = [errors(each, way) for each in group]
    peaks, parts = [abs(each["peak"]) for each in found], [abs(off) for each in found for off in each.values()]
    near = sum(off <= 0.01 for off in peaks)
    return f"peak {sum(peaks) / len(peaks):6.2%} {max(peaks):6.2%} ({near} within 1 %) parts {max(parts):6.2%}"


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()

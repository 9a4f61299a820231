"""How long a model takes to write the answers that it learns from, and how many steps that makes.

8 answers of up to 256 tokens at once: 256 passes, each of which reads every weight once
"""

from collections.abc import Mapping
from typing import Any

from studio.advisor.facts import Facts
from studio.advisor.recipes import recipes
from studio.memory.adapters import weight_bytes
from studio.memory.methods import METHODS, asks_reference, batch_of, generated_rows, scores_old_answers
from studio.params.methods import method_of


def writes(values: Mapping[str, Any]) -> bool:
    return method_of(values).answers_itself


def answer_tokens(values: Mapping[str, Any]) -> int:
    """Of an answer at most: nobody knows before where it will end."""
    batch = batch_of(METHODS[values["method"]], values, 0, size=1)
    return batch.scored_tokens


def writing_seconds(facts: Facts, values: Mapping[str, Any], *, steps: int, operations_per_second: float) -> float:
    """Of all answers of a run: a pass for each token, whichever takes longer, reading all weights or computing with
    them; and the passes that score answers before they are learned from."""
    tokens, answers = answer_tokens(values), generated_rows(values)
    batches = steps * values["gradient_accumulation_steps"] / _uses(values)
    operations = 2.0 * facts.inventory.parameters * answers
    reading = weight_bytes(facts.inventory, values) / _bytes_per_second(facts)
    least = recipes()["writing"]["gpu_pass_seconds"] if facts.machine.gpu else 0.0
    each = max(reading, operations / operations_per_second, least)
    row = tokens + min(facts.lengths.mean, values["max_length"])
    scoring = operations * row * _scorings(values) / operations_per_second
    return batches * (tokens * each + scoring)


def _uses(values: Mapping[str, Any]) -> int:
    """How many device batches are learned before the model answers anew."""
    waits = values.get("steps_per_generation") or values["gradient_accumulation_steps"]
    return waits * values.get("num_iterations", 1)


def _scorings(values: Mapping[str, Any]) -> int:
    method = METHODS[values["method"]]
    return asks_reference(method, values) + scores_old_answers(method, values)


def _bytes_per_second(facts: Facts) -> float:
    writing, gpu = recipes()["writing"], facts.machine.gpu
    if gpu is None:
        return writing["cpu_bytes"]
    generation = str(gpu.capability[0]) if gpu.capability else "8"
    return writing["gpu_bytes"].get(generation, writing["gpu_bytes"]["8"])

"""What every contender writes down of itself: seconds, processor seconds and loss of each step, and its peak memory."""

import json
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from transformers import TrainerCallback


class Recorder(TrainerCallback):
    """`steps` holds, for each step, the wall clock and the processor time at its end."""

    def __init__(self) -> None:
        self.steps: list[tuple[float, float]] = []
        self.losses: list[float] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._now()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._now()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **kwargs: Any) -> None:
        if "loss" in logs:
            self.losses.append(float(logs["loss"]))

    @property
    def seconds(self) -> list[float]:
        """Of each step, on the clock."""
        return _between([wall for wall, _ in self.steps])

    @property
    def processor_seconds(self) -> list[float]:
        """Of each step."""
        return _between([processor for _, processor in self.steps])

    @property
    def usual_processor_seconds(self) -> float:
        """The median of the steps, without the first, which makes what is made once."""
        return median(self.processor_seconds[1:])

    def write(self, path: Path) -> None:
        told = {
            "seconds": self.seconds,
            "processor_seconds": self.processor_seconds,
            "losses": self.losses,
            "peak_bytes": peak_bytes(),
        }
        path.write_text(json.dumps(told), "utf-8")

    def _now(self) -> None:
        self.steps.append((time.perf_counter(), time.process_time()))


def peak_bytes() -> int:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _between(ends: list[float]) -> list[float]:
    return [after - before for before, after in zip(ends, ends[1:], strict=False)]


@contextmanager
def watching(recorder: Recorder) -> Iterator[None]:
    """What the studio's own trainers do in here, the recorder sees too."""
    from trainers.training import recipe

    build = recipe.build

    def watched(*given: Any, **named: Any) -> Any:
        trainer = build(*given, **named)
        trainer.add_callback(recorder)
        return trainer

    recipe.build = watched
    try:
        yield
    finally:
        recipe.build = build

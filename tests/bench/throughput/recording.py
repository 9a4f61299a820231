"""What every contender writes down of itself: seconds, processor seconds and loss of each step, and its peak memory."""

import json
import resource
import time
from pathlib import Path
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

    def write(self, path: Path) -> None:
        wall, processor = zip(*self.steps, strict=True)
        told = {
            "seconds": [after - before for before, after in zip(wall, wall[1:], strict=False)],
            "processor_seconds": [after - before for before, after in zip(processor, processor[1:], strict=False)],
            "losses": self.losses,
            "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }
        path.write_text(json.dumps(told), "utf-8")

    def _now(self) -> None:
        self.steps.append((time.perf_counter(), time.process_time()))

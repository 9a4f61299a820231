"""Faults put into a job's libraries at a chosen step: what cannot be brought about for real on every machine.

FAULT=out_of_memory:7       the device has no memory left in step 7, as long as more than one row is learned at once
FAULT=non_finite:7          a gradient of step 7 is no number
FAULT=non_finite_loss:7     the loss of step 7 is no number, its gradients are
FAULT=hang:7                the loader of step 7 never comes back (and the watchdog waits 3 s, not 15 minutes)
FAULT=library:7             a library raises something unforeseen in step 7
FAULT=slow_evaluation:0.2   every batch of an evaluation takes so many seconds
FAULT=slow_batch:0.2        every batch of training takes so many seconds
"""

import time
from typing import Any

FAULT = "LUTHIER_TEST_FAULT"
"""In the environment of a job that `tests.faults.nursery` starts."""


def inject(text: str) -> None:
    """Have the trainer that a recipe builds bear the fault."""
    from trainers.training import recipe, watchdog

    kind, _, value = text.partition(":")
    whole = recipe.trainer_class
    watchdog.LEAST_SECONDS = 3.0 if kind == "hang" else watchdog.LEAST_SECONDS

    def faulty(*bases: type) -> type:
        return type("Faulty", (FAULTS[kind], whole(*bases)), {"fault_at": float(value)})

    recipe.trainer_class = faulty


class _Faulty:
    fault_at: float

    def is_now(self) -> bool:
        return self.state.global_step + 1 == self.fault_at


class _OutOfMemory(_Faulty):
    def training_step(self, model: Any, inputs: Any, *args: Any, **named: Any) -> Any:
        import torch

        if self.is_now() and len(inputs["input_ids"]) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB (put in by a test)")
        return super().training_step(model, inputs, *args, **named)


class _NonFinite(_Faulty):
    def training_step(self, model: Any, *args: Any, **named: Any) -> Any:
        loss = super().training_step(model, *args, **named)
        if self.is_now():
            next(each for each in model.parameters() if each.grad is not None).grad[0] = float("nan")
        return loss


class _NonFiniteLoss(_Faulty):
    def compute_loss(self, *args: Any, **named: Any) -> Any:
        loss = super().compute_loss(*args, **named)
        return loss + float("nan") if self.is_now() else loss


class _Hang(_Faulty):
    def get_batch_samples(self, *args: Any, **named: Any) -> Any:
        if self.is_now():
            time.sleep(3600)
        return super().get_batch_samples(*args, **named)


class _Library(_Faulty):
    def training_step(self, *args: Any, **named: Any) -> Any:
        if self.is_now():
            raise RuntimeError("a tensor of another shape (put in by a test)")
        return super().training_step(*args, **named)


class _SlowEvaluation(_Faulty):
    def prediction_step(self, *args: Any, **named: Any) -> Any:
        time.sleep(self.fault_at)
        return super().prediction_step(*args, **named)


class _SlowBatch(_Faulty):
    def training_step(self, *args: Any, **named: Any) -> Any:
        time.sleep(self.fault_at)
        return super().training_step(*args, **named)


FAULTS = {
    "out_of_memory": _OutOfMemory,
    "non_finite": _NonFinite,
    "non_finite_loss": _NonFiniteLoss,
    "hang": _Hang,
    "library": _Library,
    "slow_evaluation": _SlowEvaluation,
    "slow_batch": _SlowBatch,
}

"""The course of the learning rate, where a trainer has to know more of it than its name."""

from typing import Any


class Decays:
    """For a transformers trainer: `warmup_stable_decay` falls over the share `decay_ratio` of all steps."""

    values: dict[str, Any]

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        steps = max(1, round(num_training_steps * self.values["decay_ratio"]))
        self.args.lr_scheduler_kwargs = {"num_decay_steps": steps}
        return super().create_scheduler(num_training_steps, optimizer)


def set_rate(optimizer: Any, scheduler: Any, rate: float) -> None:
    """Let a run that goes on follow its plan with another base rate.

    A checkpoint brings the old rate in optimizer and scheduler, and the old plan's place for the first step.
    """
    if not hasattr(scheduler, "lr_lambdas"):
        # On a plateau there is no plan, only the rate as it stands.
        first = optimizer.param_groups[0]["lr"]
        for group in optimizer.param_groups:
            group["lr"] *= rate / first
    else:
        # The first group has the run's rate; others may have a multiple of it.
        scheduler.base_lrs = [rate * own / scheduler.base_lrs[0] for own in scheduler.base_lrs]
        for group, own, factor in zip(optimizer.param_groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True):
            group["initial_lr"], group["lr"] = own, own * factor(scheduler.last_epoch)
    scheduler._last_lr = [group["lr"] for group in optimizer.param_groups]

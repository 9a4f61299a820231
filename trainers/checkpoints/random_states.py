"""The states of all random generators that training draws from, as one value to put back later."""

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True)
class RandomStates:
    python: Any
    numpy: Any
    cpu: torch.Tensor
    cuda: torch.Tensor | None
    """Of the device that this process uses; None without one."""

    @classmethod
    def now(cls) -> "RandomStates":
        cuda = torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None
        return cls(random.getstate(), np.random.get_state(), torch.get_rng_state(), cuda)

    def put_back(self) -> None:
        random.setstate(self.python)
        np.random.set_state(self.numpy)
        torch.set_rng_state(self.cpu)
        if self.cuda is not None:
            torch.cuda.set_rng_state(self.cuda)

"""Direct preference optimisation with trl: `python -m trainers.dpo <attempt folder>`.

The model learns to prefer the better of two answers over the worse one, and is held near what it was before; that is
asked with the adapter switched off, or of a copy where the whole model is trained.
"""

from typing import Any

from trainers.attempt import run_attempt
from trainers.rows import pair_rows
from trainers.training import preference


def load() -> preference.Way:
    from trl import DPOConfig, DPOTrainer

    class Trainer(DPOTrainer):
        def _prepare_dataset(self, dataset: Any, *given: Any, **named: Any) -> Any:
            return dataset  # tokens already

    return preference.Way(Trainer, DPOConfig, has_reference=True)


main = preference.learner(pair_rows.pairs, load)

if __name__ == "__main__":
    run_attempt(main)

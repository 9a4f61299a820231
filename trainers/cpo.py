"""Preferring answers without a reference model (CPO, SimPO) with trl: `python -m trainers.cpo <attempt folder>`.

trl has this trainer among its experimental ones.
"""

from typing import Any

from trainers.attempt import run_attempt
from trainers.orpo import with_labels
from trainers.rows import pair_rows
from trainers.training import preference


def load() -> preference.Way:
    from trl.experimental.cpo import CPOConfig, CPOTrainer

    class Trainer(CPOTrainer):
        def tokenize_row(self, feature: dict[str, Any], model: Any = None) -> dict[str, Any]:
            return with_labels(feature)

    return preference.Way(Trainer, CPOConfig, has_reference=False)


main = preference.learner(pair_rows.pairs, load)

if __name__ == "__main__":
    run_attempt(main)

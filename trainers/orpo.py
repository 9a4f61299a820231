"""Learning good answers and preferring them in one go (ORPO) with trl: `python -m trainers.orpo <attempt folder>`.

No reference model is asked. trl has this trainer among its experimental ones.
"""

from typing import Any

from trainers.attempt import run_attempt
from trainers.rows import pair_rows
from trainers.rows.data import IGNORED
from trainers.training import preference


def load() -> preference.Way:
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    class Trainer(ORPOTrainer):
        def tokenize_row(self, feature: dict[str, Any], model: Any = None) -> dict[str, Any]:
            return with_labels(feature)

    return preference.Way(Trainer, ORPOConfig, has_reference=False)


def with_labels(row: dict[str, Any]) -> dict[str, Any]:
    """A row of `pair_rows` as trl's experimental trainers have it.

    {"prompt_ids": [1, 2], "chosen_ids": [3], ...}
        -> {"prompt_input_ids": [1, 2], "chosen_input_ids": [1, 2, 3], "chosen_labels": [-100, -100, 3], ...}
    """
    prompt = row["prompt_ids"]
    made = {"prompt_input_ids": prompt, "prompt_attention_mask": [1] * len(prompt)}
    for side in ("chosen", "rejected"):
        answer = row[f"{side}_ids"]
        made[f"{side}_input_ids"] = prompt + answer
        made[f"{side}_attention_mask"] = [1] * len(prompt + answer)
        made[f"{side}_labels"] = [IGNORED] * len(prompt) + answer
    return made


main = preference.learner(pair_rows.pairs, load)

if __name__ == "__main__":
    run_attempt(main)

"""Learning from thumbs up and down (KTO) with trl: `python -m trainers.kto <attempt folder>`.

Each row is one answer and whether it is good. How far the model has moved is estimated with answers to other questions
of the same batch, so every batch needs two rows at least.
"""

from typing import Any

from trainers.attempt import run_attempt
from trainers.rows import pair_rows
from trainers.training import preference

OTHERS = "KL_completion_ids"
IN_ORDER = {"train_sampling_strategy": "sequential"}


def load() -> preference.Way:
    from trl import KTOConfig, KTOTrainer

    class Trainer(KTOTrainer):
        def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, dataset_name: str) -> Any:
            if dataset_name == "train":  # it is read in this order, so that a batch keeps its rows together
                dataset = dataset.shuffle(seed=args.seed)
            return with_others(dataset, args.per_device_train_batch_size) if self.calculate_KL else dataset

    return preference.Way(Trainer, KTOConfig, has_reference=True, settings=IN_ORDER)


def with_others(rows: Any, batch: int) -> Any:
    """The rows, each with the answer of the one before it, the first of each `batch` with that of the last."""
    answers = list(rows["completion_ids"])
    others = []
    for start in range(0, len(answers), batch):
        portion = answers[start : start + batch]
        others += [portion[-1], *portion[:-1]]
    return rows.add_column(OTHERS, others)


main = preference.learner(pair_rows.judged, load)

if __name__ == "__main__":
    run_attempt(main)

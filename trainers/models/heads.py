"""Models with a head of labels in place of the vocabulary, and how a checkpoint says that it is one.

Head("SEQ_CLS", ("delivery", "refund"))  <->  head.json beside the weights
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SEQUENCE, TOKEN = "SEQ_CLS", "TOKEN_CLS"
"""As peft calls them."""
REWARD = ("reward",)
"""The one label of a head that judges answers."""
HEAD = "head.json"
NAMES = ("score", "classifier")
"""What transformers calls the layer of a head."""


@dataclass(frozen=True)
class Head:
    task_type: str
    labels: tuple[str, ...]
    layers = NAMES
    """Where its weights may stand."""

    @property
    def model_class(self) -> Any:
        from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

        return AutoModelForSequenceClassification if self.task_type == SEQUENCE else AutoModelForTokenClassification

    def settle(self, config: Any, pad_token_id: int) -> Any:
        """The config with the labels in it; whatever reads the saved model alone then knows them."""
        config.num_labels = len(self.labels)
        config.id2label = dict(enumerate(self.labels))
        config.label2id = {label: number for number, label in enumerate(self.labels)}
        config.pad_token_id, config.use_cache = pad_token_id, False
        return config


def layer_of(model: Any) -> Any:
    """The layer that gives the labels.

    Raises:
        AttributeError: the model has none.
    """
    return next(getattr(model, name) for name in NAMES if hasattr(model, name))


def write_head(folder: str | Path, head: Head) -> None:
    (Path(folder) / HEAD).write_text(json.dumps(asdict(head), ensure_ascii=False), "utf-8")


def read_head(folder: str | Path | None) -> Head | None:
    """The head of a checkpoint, or None where its model writes text."""
    if folder is None or not (Path(folder) / HEAD).is_file():
        return None
    known = json.loads((Path(folder) / HEAD).read_text("utf-8"))
    return Head(known["task_type"], tuple(known["labels"]))

"""Adapters on one base model, switched without loading the base again.

peft keeps adapters of one kind side by side on a model, and refuses two kinds: those that are on it are taken off
before one of another kind is put on. What stays is the base model, weight for weight.
"""

import json
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from studio.errors import JobFailed
from trainers.tuning import bottleneck

MAX_ADAPTERS = 8
CONFIG = "adapter_config.json"


class Switched:
    """A base model, and the adapters that lie beside it in memory."""

    def __init__(self, model: Any, device: str) -> None:
        self.model = model
        self._device = device
        self._kind: str | None = None
        self._names: OrderedDict[str, str] = OrderedDict()
        """Adapter folder -> its name in peft, the longest unused first."""
        self._num_named = 0

    def __contains__(self, path: str) -> bool:
        return path in self._names

    @property
    def added_tokens(self) -> int:
        """Tokens of a learned prompt that stand before each question."""
        config = getattr(self.model, "active_peft_config", None) if self._kind else None
        return getattr(config, "num_virtual_tokens", 0)

    @contextmanager
    def on(self, path: str | None) -> Iterator[None]:
        """With the adapter of that folder, or with none.

        Raises:
            JobFailed: answer_adapter_does_not_fit.
        """
        if path is None and self._kind == bottleneck.KIND:
            self._take_off()
        elif path is None and self._kind is not None:
            with self.model.disable_adapter():
                yield
            return
        if path is not None:
            if path not in self._names:
                self._put_on(path)
            self._names.move_to_end(path)
            if self._kind != bottleneck.KIND:
                self.model.set_adapter(self._names[path])
        yield

    def _put_on(self, path: str) -> None:
        from peft import PeftModel

        name, kind = f"adapter{self._num_named}", kind_of(path)
        if self._kind not in (None, kind) or self._kind == bottleneck.KIND:
            self._take_off()
        try:
            if kind == bottleneck.KIND:
                self._put_bottlenecks(Path(path))
            elif self._kind is None:
                self.model = PeftModel.from_pretrained(self.model, path, name, torch_device=self._device).eval()
            else:
                self.model.load_adapter(path, name, torch_device=self._device)
        except (ValueError, KeyError, RuntimeError) as error:
            raise JobFailed("answer_adapter_does_not_fit") from error
        self._kind, self._num_named = kind, self._num_named + 1
        self._names[path] = name
        if len(self._names) > MAX_ADAPTERS:
            self.model.delete_adapter(self._names.popitem(last=False)[1])

    def _put_bottlenecks(self, folder: Path) -> None:
        """These lie on the model one at a time: reading them again takes milliseconds."""
        bottleneck.put_on(self.model, bottleneck.size_of(folder))
        try:
            bottleneck.load(self.model, folder)
        except ValueError:
            bottleneck.take_off(self.model)
            raise

    def _take_off(self) -> None:
        if self._kind == bottleneck.KIND:
            bottleneck.take_off(self.model)
        elif self.model.active_peft_config.is_prompt_learning:
            self.model = self.model.base_model
        else:
            self.model = self.model.unload()
        self._kind = None
        self._names.clear()


def kind_of(path: str | Path) -> str:
    """What an adapter folder holds: LORA, IA3, PROMPT_TUNING, ... as peft calls them.

    Raises:
        JobFailed: answer_adapter_does_not_fit.
    """
    try:
        return str(json.loads((Path(path) / CONFIG).read_bytes())["peft_type"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise JobFailed("answer_adapter_does_not_fit") from error

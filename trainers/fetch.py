"""Fetch a model from the Hugging Face hub, or its mirror (HF_ENDPOINT): `python -m trainers.fetch <attempt folder>`.

Only weights in safetensors, JSON and tokenizer files are taken: nothing that runs code when it is opened. The model
ends up in `output_path/model`; what was fetched before an interruption is used again.
"""

import shutil
from pathlib import Path
from typing import Any

from studio.errors import JobFailed
from studio.paths import workspace
from studio.tokens import read
from trainers.attempt import Attempt, run_attempt
from trainers.checkpoints.manifest import size_of

WANTED = ["*.safetensors", "*.json", "*.jinja", "tokenizer.model", "*.tiktoken", "*.txt", "README.md", "LICENSE*"]
PROGRESS_STEP = 0.01


def main(attempt: Attempt) -> dict[str, Any]:
    name, revision = attempt.spec.values["model"], attempt.spec.values.get("revision")
    folder = Path(attempt.spec.output_path) / "model"
    attempt.phase("fetching")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        snapshot_download(
            name,
            revision=revision,
            local_dir=folder,
            allow_patterns=WANTED,
            tqdm_class=reporting_bar(attempt),
            token=read(workspace(), "hub"),
        )
    except GatedRepoError as error:
        raise JobFailed("hub_gated", model=name) from error
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
        raise JobFailed("hub_unknown", model=name) from error
    except Exception as error:
        if not is_network_error(error):
            raise
        raise JobFailed("hub_unreachable", model=name) from error
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # what the hub's client notes for going on
    return {"folder": str(folder), "size_bytes": size_of(folder), "model": name, "revision": revision}


def is_network_error(error: BaseException) -> bool:
    """Whether the hub could not be reached; huggingface_hub wraps that in several ways."""
    import httpx
    from huggingface_hub.errors import LocalEntryNotFoundError

    return isinstance(error, httpx.HTTPError | LocalEntryNotFoundError | ConnectionError | TimeoutError)


def reporting_bar(attempt: Attempt) -> type:
    """A tqdm class that writes progress events, at most one for each hundredth of the bytes."""
    from tqdm.auto import tqdm

    class Bar(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("name", None)
            super().__init__(*args, **kwargs)
            self._told = 0.0

        def update(self, n: float = 1) -> bool | None:
            shown = super().update(n)
            if self.total and self.unit == "B" and self.n - self._told >= self.total * PROGRESS_STEP:
                self._told = self.n
                attempt.events.write(
                    "progress", done=int(self.n), total=int(self.total), unit="bytes", seconds_left=None
                )
            return shown

    return Bar


if __name__ == "__main__":
    run_attempt(main)

"""Rows as tokens, kept between runs: a data set is tokenised once for a model's tokenizer and a length.

    cache.take(path)  ->  Kept(count=1200, findings={"rows_shortened": [17]}), and the rows lie at `path`; or None

What is kept is known by the bytes of what it was made from: the version's rows, every small file of the model's folder
(tokenizer, template, config), the side of the split, the length, and the libraries' versions. It lies in the
workspace's `cache/tokens` as a folder with a manifest, is proved whole before it is used, and is linked into the
attempt, so that a run keeps its rows when the cache is emptied. No torch here.
"""

import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import xxhash

from studio.protocol import Spec
from trainers.checkpoints.manifest import TEMPORARY_PREFIX, content_of, damaged_files, whole_folder

TOKENS, FINDINGS = "rows.arrow", "findings.json"
LAYOUT = 2
"""To be raised when rows are rendered otherwise than before."""
MOST_FOLDERS = 40
LEFT_SECONDS = 86_400
"""After so long nobody writes a half-written folder any more."""
SMALL_BYTES = 64 << 20
"""Files of a model's folder up to this size may be part of its tokenizer."""
_LIBRARIES = ("transformers", "trl")


@dataclass(frozen=True)
class Kept:
    count: int
    findings: dict[str, list[int]]
    """Rows that are not trained on as they stand, by the code of their alert."""


class TokenCache:
    def __init__(self, spec: Spec, split: str) -> None:
        self._folder = Path(spec.cache_path) / "tokens" / _key(spec, split) if spec.cache_path else None

    def take(self, path: Path) -> Kept | None:
        """Put the kept rows at `path`; None where there are none, or where they are not whole."""
        folder = self._folder
        if folder is None or not folder.is_dir() or damaged_files(folder):
            return None
        try:
            told = json.loads((folder / FINDINGS).read_bytes())
            _link(folder / TOKENS, path)
            os.utime(folder)
        except OSError:  # another run has just swept it
            return None
        return Kept(told["count"], told["findings"])

    def keep(self, path: Path, kept: Kept) -> None:
        """Keep the rows at `path`. A cache that cannot be written is no reason to stop a run."""
        if self._folder is None:
            return
        try:
            with whole_folder(self._folder) as folder:
                _link(path, folder / TOKENS)
                (folder / FINDINGS).write_text(json.dumps({"count": kept.count, "findings": kept.findings}))
            _sweep(self._folder.parent)
        except OSError:
            return


def _key(spec: Spec, split: str) -> str:
    from trainers.rows.data import ROWS

    model = Path(spec.model.path)
    small = sorted(each for each in model.iterdir() if each.is_file() and each.stat().st_size <= SMALL_BYTES)
    named = {
        "layout": LAYOUT,
        "rows": content_of([Path(spec.dataset.path) / ROWS]),
        "format": spec.dataset.format,
        "split": split,
        "tokenizer": [(each.name, content_of([each])) for each in small if each.suffix != ".safetensors"],
        "max_length": spec.values["max_length"],
        "reasoning": spec.values.get("reasoning", "keep"),
        "libraries": [spec.libraries.get(name) for name in _LIBRARIES],
    }
    return xxhash.xxh3_128(json.dumps(named, sort_keys=True).encode()).hexdigest()


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another disk, or a file system without links
        shutil.copyfile(source, target)


def _sweep(parent: Path) -> None:
    """Forget those that nobody used for longest, and what killed runs left half-written."""
    used = {each: each.stat().st_mtime for each in parent.iterdir()}
    whole = sorted((each for each in used if not each.name.startswith(TEMPORARY_PREFIX)), key=used.get, reverse=True)
    left = [each for each in used if each not in whole and time.time() - used[each] > LEFT_SECONDS]
    for folder in whole[MOST_FOLDERS:] + left:
        shutil.rmtree(folder, ignore_errors=True)

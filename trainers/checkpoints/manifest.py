"""Folders that are whole or absent: written under a temporary name, listed with checksums last, then renamed.

Checkpoints and the starter model are such folders. The digest of one is the sha256 of its manifest's bytes, so it
covers every file. No torch here.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import xxhash

from studio.protocol import sync_folder, write_atomically

MANIFEST = "manifest.json"
TEMPORARY_PREFIX = ".unfinished-"
LITTLE_SPACE_BYTES = 16 << 20
_BLOCK_BYTES = 1 << 22
OPENED_KINDS = frozenset(
    {".safetensors", ".json", ".jinja", ".model", ".txt", ".py", ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".npz"}
)
"""What the libraries may open in a folder, asked or not."""


@contextmanager
def whole_folder(target: Path, **facts: Any) -> Iterator[Path]:
    """Give a temporary folder to fill; afterwards fsync it, write its manifest with `facts`, and rename it to `target`.

    An older `target` is replaced. After an error nothing is left behind but what was there before.

    Raises:
        OSError: ENOSPC also where a library says otherwise that the disk is full; once the folder is gone, it is not.
    """
    temporary = target.with_name(f"{TEMPORARY_PREFIX}{target.name}-{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        seal(temporary, **facts)
    except BaseException as error:
        is_full = shutil.disk_usage(temporary.parent).free < LITTLE_SPACE_BYTES
        shutil.rmtree(temporary, ignore_errors=True)
        if is_full and isinstance(error, RuntimeError):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target)) from error
        raise
    old = temporary.with_name(f"{temporary.name}-old")
    if target.exists():
        os.replace(target, old)
    os.replace(temporary, target)
    sync_folder(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def seal(folder: Path, **facts: Any) -> None:
    """fsync every file and folder below `folder`, and write its manifest last."""
    files = {}
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        with path.open("rb+") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
        files[path.relative_to(folder).as_posix()] = {"size": path.stat().st_size, "sha256": digest}
    for inner in (each for each in folder.rglob("*") if each.is_dir()):
        sync_folder(inner)
    write_atomically(folder / MANIFEST, json.dumps({**facts, "files": files}, indent=1, sort_keys=True).encode())


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a whole folder, or None where there is none or it cannot be read."""
    try:
        return json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return None


def digest_of(folder: Path) -> str:
    return hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()


def damaged_files(folder: Path, *, suffixes: tuple[str, ...] = ("",)) -> list[str]:
    """Names of files that are missing, differ from the manifest or were put beside its own, or the manifest itself.

    Args:
        suffixes: look at no others of those listed; files that are not listed count whatever it says.
    """
    manifest = read_manifest(folder)
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        return [MANIFEST]
    files = ((name, listed) for name, listed in manifest["files"].items() if name.endswith(suffixes))
    return [name for name, listed in files if not _is_as_listed(folder / name, listed)] + _strangers(
        folder, manifest["files"]
    )


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def sweep_unfinished(parent: Path) -> None:
    """Remove what a killed process left half-written in `parent`; call it only where nobody else writes."""
    for path in parent.glob(f"{TEMPORARY_PREFIX}*"):
        shutil.rmtree(path, ignore_errors=True)


def _strangers(folder: Path, listed: dict[str, Any]) -> list[str]:
    """Files that a library would open if it found them; what a file manager leaves behind does no harm."""
    found = (path for path in folder.rglob("*") if path.suffix in OPENED_KINDS)
    names = (path.relative_to(folder).as_posix() for path in found)
    return sorted(name for name in names if name not in listed and name != MANIFEST)


def _is_as_listed(path: Path, listed: dict[str, Any]) -> bool:
    try:
        if path.stat().st_size != listed["size"]:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == listed["sha256"]
    except (OSError, LookupError, TypeError, ValueError):  # the manifest itself may be damaged: a key, a name
        return False


def content_of(files: Iterable[Path]) -> str:
    """One digest (xxh3, 128 bits) of the bytes of these files, one after another: for telling whether they changed."""
    digest = xxhash.xxh3_128()
    for path in files:
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    return digest.hexdigest()

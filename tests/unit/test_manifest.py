"""A folder with its manifest is whole, or says what is not: whichever bit of the manifest itself is flipped."""

import os
from pathlib import Path

import pytest

from trainers.checkpoints.manifest import MANIFEST, damaged_files, digest_of, whole_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with whole_folder(tmp_path / "step-3", step=3) as made:
        (made / "weights.safetensors").write_bytes(b"weights")
        (made / "inner").mkdir()
        (made / "inner" / "state.json").write_text("{}")
    return tmp_path / "step-3"


def test_a_flipped_bit_anywhere_in_a_manifest_is_seen_and_raises_nothing(folder: Path) -> None:
    assert damaged_files(folder) == []
    whole, digest = (folder / MANIFEST).read_bytes(), digest_of(folder)
    named = set()
    for place in range(len(whole)):
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[place] ^= 1 << bit
            (folder / MANIFEST).write_bytes(flipped)
            named |= set(damaged_files(folder))
            assert digest_of(folder) != digest
    assert MANIFEST in named and "weights.safetensors" in named


def test_files_that_differ_are_missing_or_were_put_there_are_named(folder: Path) -> None:
    (folder / "weights.safetensors").write_bytes(b"Weights")
    (folder / "inner" / "state.json").unlink()
    (folder / "added.bin").write_bytes(b"")
    (folder / "Thumbs.db").write_bytes(b"")
    assert sorted(damaged_files(folder)) == ["added.bin", "inner/state.json", "weights.safetensors"]


def test_all_is_on_the_disk_before_a_name_says_that_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this order a power cut at any moment leaves a folder that is whole, or none of that name."""
    sync, rename, done = os.fsync, os.replace, []  # (what was done, the file's number, which outlives its names)
    monkeypatch.setattr(os, "fsync", lambda file: (sync(file), done.append(("fsync", os.fstat(file).st_ino))))
    monkeypatch.setattr(os, "replace", lambda a, b: (rename(a, b), done.append(("rename", os.stat(b).st_ino))))
    with whole_folder(tmp_path / "step-3", step=3) as made:
        (made / "inner" / "deeper").mkdir(parents=True)
        (made / "inner" / "deeper" / "state.json").write_text("{}")
        (made / "weights.safetensors").write_bytes(b"weights")
        assert done == []
    names = {path.stat().st_ino: str(path.relative_to(tmp_path)) for path in [tmp_path, *tmp_path.rglob("*")]}
    assert [(what, names[number]) for what, number in done] == [
        ("fsync", "step-3/inner/deeper/state.json"),
        ("fsync", "step-3/weights.safetensors"),
        ("fsync", "step-3/inner"),
        ("fsync", "step-3/inner/deeper"),
        ("fsync", f"step-3/{MANIFEST}"),
        ("rename", f"step-3/{MANIFEST}"),
        ("fsync", "step-3"),
        ("rename", "step-3"),
        ("fsync", "."),
    ]

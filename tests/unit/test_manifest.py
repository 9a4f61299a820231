"""A folder with its manifest is whole, or says what is not: whichever bit of the manifest itself is flipped."""

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

"""Scores of single rows go on to the versions that are made of them, where the rows are as they were."""

from pathlib import Path

import polars as pl
import pytest

from studio.workshop import cleaning, recipe
from studio.workshop.reports import DIFFICULTY
from studio.workshop.versions import remedies
from studio.workshop.versions.build import revise
from studio.workshop.versions.carried import carry_difficulty, unchanged
from tests.unit.workshop.making import chat, pair, version

MENDED = '{"prompt": "Q2", "completion": "Another answer."}'


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    first = version(tmp_path / "v1", [pair(f"Q{number}", f"An answer {'so ' * number}") for number in range(1, 6)])
    remedies.order(first, {}, tmp_path / "v2")
    return tmp_path / "v2"


def test_a_row_is_unchanged_where_number_and_content_are_the_same(scored: Path, tmp_path: Path):
    revise(scored, tmp_path / "v3", edits={2: MENDED}, exclude=[1])
    assert unchanged(scored, tmp_path / "v3").rows() == [(3, 2), (4, 3), (5, 4)]


def test_rows_of_another_format_are_other_rows(scored: Path, tmp_path: Path):
    assert unchanged(scored, version(tmp_path / "chats", [chat("Q1", "An answer")])).is_empty()


def test_scores_go_on_without_those_of_changed_rows(scored: Path, tmp_path: Path):
    revise(scored, tmp_path / "v3", edits={2: MENDED}, exclude=[1])
    carry_difficulty(scored, tmp_path / "v3")
    before = dict(pl.read_parquet(scored / DIFFICULTY).select("row", "difficulty").iter_rows())
    after = dict(pl.read_parquet(tmp_path / "v3" / DIFFICULTY).select("row", "difficulty").iter_rows())
    assert after == {row: before[row] for row in (3, 4, 5)}


def test_a_split_keeps_all_scores(scored: Path, tmp_path: Path):
    cleaning.apply(scored, recipe.parse({"steps": [{"step": "split"}]}), tmp_path / "v3")
    carry_difficulty(scored, tmp_path / "v3")
    assert pl.read_parquet(tmp_path / "v3" / DIFFICULTY).equals(pl.read_parquet(scored / DIFFICULTY))


def test_scores_of_a_minority_are_no_order(scored: Path, tmp_path: Path):
    edits = {row: f'{{"prompt": "Q{row}", "completion": "New."}}' for row in (1, 2, 3)}
    revise(scored, tmp_path / "v3", edits=edits, exclude=[])
    carry_difficulty(scored, tmp_path / "v3")
    assert not (tmp_path / "v3" / DIFFICULTY).exists()


def test_own_scores_stay(scored: Path, tmp_path: Path):
    remedies.order(scored, {"length": 0}, tmp_path / "v3")
    own = (tmp_path / "v3" / DIFFICULTY).read_bytes()
    carry_difficulty(scored, tmp_path / "v3")
    assert (tmp_path / "v3" / DIFFICULTY).read_bytes() == own

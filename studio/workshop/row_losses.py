"""How surprised a model was by each row of a version: measured once by a job, kept, and read by whoever needs it.

    <workspace>/cache/reports/losses-<rows>-<model>/losses.parquet    row, tokens, loss, noted: a line a row, in order
                                                    report.json       counts and means; written last

The folder is named by the hash over what training gets of the version and by what is known of the model, so versions
that train alike share it; a row without a loss (the model cannot be trained on it) has nulls. What measures is
`trainers.score`, what uses it is the check `difficulty`. polars is imported where it is used: the server
starts without.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from studio.errors import RefusedInput
from studio.paths import Workspace
from studio.protocol import write_struct
from studio.workshop.reports import REPORT
from studio.workshop.versions.layout import MESSAGES, PROMPT_COMPLETION, TEXT, TOKENS

if TYPE_CHECKING:
    import polars as pl

LOSSES = "losses.parquet"
FORMATS = (MESSAGES, PROMPT_COMPLETION, TEXT, TOKENS)
"""Rows of these hold an answer, or text, that a model can be asked about."""
MAX_LENGTH = 1024
"""Where rows are cut unless a person says otherwise: the same default as in training."""


class Scorer(msgspec.Struct, frozen=True, kw_only=True):
    """Who measures, and how."""

    title: str
    """Shown to people."""
    place: dict[str, Any]
    """model_path, adapter_path, load_in_4bit: see `studio.jobs.serving.place_of`."""
    content: str
    """Hash of the weights: the model's, and the adapter's."""
    max_length: Annotated[int, msgspec.Meta(ge=16, le=1 << 20)] = MAX_LENGTH

    @property
    def key(self) -> str:
        """What tells two scorers apart, whatever they are called and wherever they lie."""
        known = [self.content, bool(self.place.get("load_in_4bit")), self.max_length]
        return hashlib.sha256(msgspec.json.encode(known)).hexdigest()[:16]


class LossReport(msgspec.Struct, frozen=True, kw_only=True):
    """What measuring came to."""

    model: str
    load_in_4bit: bool
    max_length: int
    rows: int
    scored: int
    """Rows with a loss."""
    tokens: int
    """Answer tokens of those."""
    loss: float | None
    """Mean over the tokens, in nats; None where no row has any."""
    cut: int
    """Rows of which only the part within max_length counts."""
    left_out: dict[str, int] = {}
    """Alert code -> rows without a loss."""
    carried: int = 0
    """Rows that were measured in an earlier version and have not changed since."""


@dataclass(frozen=True)
class RowLosses:
    """A report with its table."""

    report: LossReport
    table: "pl.DataFrame"
    """row, tokens, loss, noted: a line a row of the version, in its order."""


def place(workspace: Workspace, content_hash: str, scorer: Scorer) -> Path:
    """The folder of these losses, whether it exists or not."""
    return workspace.reports / f"losses-{content_hash[:16]}-{scorer.key}"


def keep(
    folder: Path,
    report: LossReport,
    lines: Mapping[int, tuple[int, float]],
    rows: list[int],
    noted: Mapping[int, str] = MappingProxyType({}),
) -> None:
    """Write what was measured.

    Args:
        lines: row -> tokens and loss.
        rows: numbers of all rows, in the version's order.
        noted: row -> code of why it was cut, or has no loss.
    """
    import polars as pl

    folder.mkdir(parents=True, exist_ok=True)
    nothing = (None, None)
    table = pl.DataFrame(
        {
            "row": rows,
            "tokens": [lines.get(row, nothing)[0] for row in rows],
            "loss": [lines.get(row, nothing)[1] for row in rows],
            "noted": [noted.get(row) for row in rows],
        },
        schema={"row": pl.Int64, "tokens": pl.Int64, "loss": pl.Float64, "noted": pl.String},
    )
    table.write_parquet(folder / LOSSES)
    write_struct(folder / REPORT, report)


def read(folder: Path) -> RowLosses:
    """
    Raises:
        RefusedInput: there are none.
    """
    import polars as pl

    try:
        report = msgspec.json.decode((folder / REPORT).read_bytes(), type=LossReport)
        return RowLosses(report, pl.read_parquet(folder / LOSSES))
    except (OSError, msgspec.DecodeError, pl.exceptions.PolarsError) as error:
        raise RefusedInput("data.check.no_losses") from error


def carried(folder: Path, before: Path, after: Path) -> "pl.DataFrame":
    """The losses in `folder`, measured on the version `before`, of the rows of `after` that are as they were.

    Columns row, tokens, loss, noted, with the rows' numbers. Nothing for losses kept before `noted` was: what they lack
    is why a row has none.
    """
    import polars as pl

    from studio.workshop.versions.carried import unchanged

    known = read(folder).table
    if "noted" not in known.columns:
        return known.clear().with_columns(noted=pl.lit(None, pl.String))
    rows = unchanged(before, after)
    lines = known.drop("row").with_row_index("place")
    return rows.join(lines, on="place", how="inner", maintain_order="left").drop("place")

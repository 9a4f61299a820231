"""The task's schema read off a version's first rows: what most answers have in common, as options of a cleaning step.

schema_of(version)  ->  {"kind": "labels", "labels": ["billing", "delivery"]}     {} for free text
"""

from pathlib import Path
from typing import Any

import msgspec


def schema_of(version: Path) -> dict[str, Any]:
    """Options of the step `task_schema`; empty where the answers have no form in common."""
    import polars as pl

    from studio.workshop.clean import task_schema
    from studio.workshop.versions.reader import ROWS

    rows = pl.scan_parquet(version / ROWS).drop("raw", strict=False).head(task_schema.SAMPLE_ROWS).collect()
    found = msgspec.to_builtins(task_schema.derive(rows))
    return found if found.get("kind", "none") != "none" else {}

"""The rows of `tests/fixtures`, imported as a person would: `imported(folder, "preference") -> DatasetRef`."""

from pathlib import Path

from studio.paths import PROJECT_ROOT
from studio.protocol import DatasetRef
from tests.trainers.jobs import run_here, write_spec

FIXTURES = PROJECT_ROOT / "tests" / "fixtures"
SETS = {"preference": 120, "unpaired": 96, "prompts": 112}


def imported(folder: Path, name: str) -> DatasetRef:
    """The version that the workshop makes of a file, whose shape it finds out by itself."""
    from trainers import prepare

    path = FIXTURES / f"{name}.jsonl"
    values = {"operation": "import", "source": str(path), "original_name": path.name, "name": name}
    result = run_here(prepare.main, write_spec(folder, kind="prepare", values=values))
    assert result.outcome == "succeeded", result
    manifest = result.figures["manifest"]
    assert manifest["problems"] == 0
    return DatasetRef(
        name=name,
        version=1,
        path=str(folder / "output" / "version"),
        content_hash=manifest["content_hash"],
        format=manifest["format"],
        rows=manifest["rows"],
    )

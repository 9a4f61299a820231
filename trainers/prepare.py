"""The `prepare` job: a file becomes a data set version, or a version becomes a new one with rows mended or left out.

Writes to `<output_path>/version`; the server moves it to its place. Loads no model and no torch.

    python -m trainers.prepare <attempt folder>
"""

import shutil
from pathlib import Path
from typing import Any

import msgspec

from studio.errors import JobFailed
from studio.workshop.build import import_file, revise
from studio.workshop.versions import Manifest
from trainers.attempt import Attempt, run_attempt


def main(attempt: Attempt) -> dict[str, Any]:
    values = attempt.spec.values
    folder = Path(attempt.spec.output_path) / "version"
    shutil.rmtree(folder, ignore_errors=True)  # what an attempt that was killed left behind
    operations = {"import": _import, "revise": _revise}
    operation = operations.get(values.get("operation"))
    if operation is None:
        raise JobFailed("bad_spec", error=f"operation={values.get('operation')!r}")
    manifest = operation(attempt, values, folder)
    return {"manifest": msgspec.to_builtins(manifest)}


def _import(attempt: Attempt, values: dict[str, Any], folder: Path) -> Manifest:
    attempt.phase("reading_data")
    return import_file(
        Path(values["source"]),
        folder,
        original_name=values.get("original_name"),
        shape=values.get("shape"),
        columns=values.get("columns"),
        report=_reporter(attempt),
    )


def _revise(attempt: Attempt, values: dict[str, Any], folder: Path) -> Manifest:
    attempt.phase("revising_data")
    edits = {int(row): text for row, text in values.get("edits", {}).items()}
    exclude = [int(row) for row in values.get("exclude", [])]
    return revise(Path(values["parent"]), folder, edits=edits, exclude=exclude, report=_reporter(attempt))


def _reporter(attempt: Attempt):
    def report(done: float, total: float, unit: str) -> None:
        attempt.events.write("progress", done=done, total=total, unit=unit, seconds_left=None)

    return report


if __name__ == "__main__":
    run_attempt(main)

"""The calculator on a CPU with and without the other runs: `python -m tests.bench.measured_runs`.

Each row of tests/unit/memory/measured_cpu.csv is predicted from all the others, as if this machine had made those.
"""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.hardware import Machine
from studio.memory.configuration import configuration_of
from studio.memory.estimate import Estimate, Shapes, estimate
from studio.memory.inventory import from_config
from studio.memory.measured import Experience, Measurement, libraries_of, place_of
from studio.memory.stack import installed_stack
from studio.params.table import check

ROWS = Path(__file__).parents[1] / "unit" / "memory"
MACHINE = Machine(cpu_count=2, ram_bytes=24 << 30, ram_free_bytes=16 << 30)
MODEL = "starter"


@dataclass(frozen=True)
class Row:
    name: str
    values: dict[str, Any]
    shapes: Shapes
    found: Estimate
    peak_bytes: int

    def measurement(self) -> Measurement:
        return Measurement(
            place=place_of(MACHINE),
            libraries=libraries_of(installed_stack()),
            configuration=configuration_of(MODEL, self.values, self.shapes.row_tokens(self.values)),
            ran_out=False,
            is_probe=False,
            peak_bytes=self.peak_bytes,
            predicted_bytes=self.found.allocated_bytes,
        )


def main() -> None:
    rows = [read(row) for row in csv.DictReader((ROWS / "measured_cpu.csv").read_text().splitlines())]
    alone, learned = [], []
    for row in rows:
        others = tuple(other.measurement() for other in rows if other is not row)
        known = Experience(MODEL, others).correct(row.found, row.values, shapes=row.shapes, machine=MACHINE)
        alone.append(error(row.found, row))
        learned.append(error(known, row))
        print(f"{row.name:24} {row.peak_bytes / 2**30:6.2f} GiB   alone {alone[-1]:+.1%}   learned {learned[-1]:+.1%}")  # noqa: T201
    for name, errors in (("alone", alone), ("learned", learned)):
        sizes = [abs(each) for each in errors]
        print(f"{name:24} mean {sum(sizes) / len(sizes):.1%}   worst {max(sizes):.1%}")  # noqa: T201


def read(row: dict[str, str]) -> Row:
    batch = row["per_device_batch"]
    given = {"dtype": "float32", "mixed_precision": "no", "gradient_checkpointing": False, "tuning": row["tuning"]}
    given |= {"per_device_train_batch_size": batch, "per_device_eval_batch_size": batch}
    values, shapes = check({"model_name_or_path": "m", "dataset": "d", **given}), Shapes(int(row["longest_row"]))
    model = from_config(json.loads((ROWS / "configs.json").read_text())["SmolLM2-135M"])
    found = estimate(model, values, shapes=shapes, machine=MACHINE)
    return Row(row["id"], values, shapes, found, int(row["host_peak_bytes"]))


def error(found: Estimate, row: Row) -> float:
    return found.allocated_bytes / row.peak_bytes - 1


if __name__ == "__main__":
    main()

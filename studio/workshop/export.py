"""Write a data set version's usable rows for use elsewhere."""

import json
from pathlib import Path

from studio.errors import RefusedInput
from studio.workshop.versions import iterate_rows


def export_jsonl(version: Path, out: Path) -> int:
    """Write rows as JSONL in trl's types (`messages`, or `prompt` and `completion`); returns how many.

    Raises:
        RefusedInput: `out` cannot be written.
    """
    try:
        with out.open("w", encoding="utf-8", newline="\n") as file:
            count = 0
            for row in iterate_rows(version):
                kept = (
                    {"messages": row.messages} if row.messages else {"prompt": row.prompt, "completion": row.completion}
                )
                file.write(json.dumps(kept, ensure_ascii=False) + "\n")
                count += 1
    except OSError as error:
        raise RefusedInput("export.cannot_write", file=str(out), detail=error.strerror or str(error)) from error
    return count

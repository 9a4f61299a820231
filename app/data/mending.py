"""The fix that a page proposes for a faulty row: as far as it yields a row that can be used.

    mended('{"role": "hummany", ...}', unknown_role_hint at messages[0].role)  ->  '{"role": "human", ...}'

Each single fix is `studio.workshop.converting.fixes`'. What it does is said in words below `data.fix.<code>`.
"""

from pathlib import Path

from studio.errors import RefusedInput
from studio.workshop.converting.convert import convert_text, converter
from studio.workshop.problems import Problem, suggested_fix
from studio.workshop.versions.manifest import Manifest, read_manifest
from studio.workshop.versions.problem_groups import find_problems

MOST_MENDED = 20_000
"""Rows mended at once; more of a kind are mended by asking again."""
MOST_ROUNDS = 4
"""A row may have several faults; each round mends one."""


def mended_rows(folder: Path, state: str, code: str) -> tuple[dict[str, str], int]:
    """Every row of this kind of problem that can be mended, row number -> raw, and how many of them cannot.

    Raises:
        RefusedInput: no fix is known for any.
    """
    manifest = read_manifest(folder)
    found = find_problems(folder, state, code, start=0, count=MOST_MENDED)
    edits = {str(each.row): raw for each in found if (raw := mended(each, manifest))}
    if not edits:
        raise RefusedInput("data.page.nothing_mended")
    return edits, len({each.row for each in found}) - len(edits)


def mended(problem: Problem, manifest: Manifest) -> str | None:
    """The row's source without this fault and any other; None where no fix is known or it would not be enough."""
    convert = converter(manifest.shape, manifest.columns)
    for _ in range(MOST_ROUNDS):
        raw = suggested_fix(problem)
        if raw is None:
            return None
        made, faults = convert_text(raw, convert)
        if made is not None:
            return raw
        problem = faults[0].at(problem.row, raw)
    return None

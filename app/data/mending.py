"""The fix that a page proposes for a faulty row: as far as it yields a row that can be used.

    mended('{"role": "hummany", ...}', unknown_role_hint at messages[0].role)  ->  '{"role": "human", ...}'

Each single fix is `studio.workshop.converting.fixes`'. What it does is said in words below `data.fix.<code>`.
"""

from studio.workshop.converting.convert import convert_text, converter
from studio.workshop.problems import Problem, suggested_fix
from studio.workshop.versions.manifest import Manifest

MOST_ROUNDS = 4
"""A row may have several faults; each round mends one."""


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

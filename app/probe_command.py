"""`luthier memory SPEC.yaml --probe`: what a run really takes, from two steps of it."""

from typing import Any

from app import client
from app.commands import followed, raise_if_failed
from studio.paths import Workspace


def measure(place: Workspace, spec: dict[str, Any]) -> dict[str, Any]:
    """The prediction's document, with the measured figure in it; `measured` holds the peaks by phase.

    Raises:
        RefusedInput: the spec has faults.
        Failure: the measurement did not come to an end; running out of memory is one way.
    """
    job = followed(place, client.call(place, "probe_memory", spec=spec))
    raise_if_failed(job)
    # What was measured is shown, also where the advisor would fill the form in otherwise by now.
    found = client.call(place, "predict", spec=spec | job.values)
    return found | {"measured": job.figures}

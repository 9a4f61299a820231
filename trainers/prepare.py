"""The `prepare` job: everything that is done to data sets and would keep a page waiting. Loads no model and no torch.

An operation leaves one of these, and the server moves it to its place (`studio.jobs.products`):

    <output_path>/version    a new data set version     import, revise, clean, split, mix, balance, order, augment,
                             accept, restore, marks, system_prompt, pull, sampled, rated_pairs
    <output_path>/report     what was found             look, check, teach, diff
    <output_path>/export     a file and what describes it                                                       export

A stop ends the process at once, whatever it does: nothing of it has been taken over yet, so nothing is half done.

    python -m trainers.prepare <attempt folder>
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from studio.errors import JobFailed
from studio.workshop.versions.build import import_file, revise
from trainers.attempt import Attempt, run_attempt

Figures = dict[str, Any]


def main(attempt: Attempt) -> Figures:
    values = attempt.spec.values
    output = Path(attempt.spec.output_path)
    shutil.rmtree(output, ignore_errors=True)  # what an attempt that was killed left behind
    output.mkdir(parents=True)
    operation = OPERATIONS.get(values.get("operation"))
    if operation is None:
        raise JobFailed("bad_spec", error=f"operation={values.get('operation')!r}")
    figures = msgspec.to_builtins(operation(attempt, values, output))
    if values.get("parent"):
        from studio.workshop.versions.carried import carry_difficulty

        carry_difficulty(Path(values["parent"]), output / "version")
    return figures


# -- new versions ----------------------------------------------------------------------------------------------------


def _import(attempt: Attempt, values: dict[str, Any], output: Path) -> Figures:
    attempt.phase("reading_data")
    manifest = import_file(
        Path(values["source"]),
        output / "version",
        original_name=values.get("original_name"),
        shape=values.get("shape"),
        columns=values.get("columns"),
        encoding=values.get("encoding"),
        report=_progress(attempt),
    )
    return {"manifest": manifest}


def _revise(attempt: Attempt, values: dict[str, Any], output: Path) -> Figures:
    attempt.phase("revising_data")
    edits = {int(row): text for row, text in values.get("edits", {}).items()}
    exclude = [int(row) for row in values.get("exclude", [])]
    parent, folder = Path(values["parent"]), output / "version"
    return {"manifest": revise(parent, folder, edits=edits, exclude=exclude, report=_progress(attempt))}


def _clean(attempt: Attempt, values: dict[str, Any], output: Path) -> Figures:
    """Cleaning, and splitting: a recipe of one step."""
    from studio.workshop import cleaning, recipe

    attempt.phase(f"data.{values['operation']}")
    steps = recipe.parse(values["recipe"])
    told = {"phase": attempt.phase, "progress": _progress(attempt)}
    manifest, reports = cleaning.apply(Path(values["parent"]), steps, output / "version", **told)
    return {"manifest": manifest, "steps": reports}


def _mix(attempt: Attempt, values: dict[str, Any], output: Path) -> Figures:
    from studio.workshop.versions.mix import Part, mix

    attempt.phase("data.mix")
    parts = msgspec.convert(values["parts"], list[Part])
    chosen = {"seed": values["seed"], "convert": values["convert"]}
    return {"manifest": mix(Path(values["parent"]), parts, output / "version", **chosen)}


def _balance(attempt: Attempt, values: dict[str, Any], output: Path) -> Figures:
    from studio.workshop.versions import remedies

    attempt.phase("data.balance")
    return {"manifest": remedies.balance(Path(values["parent"]), values["options"], output / "version")}


def _order(attempt: Attempt, values: dict[str, Any], output: Path) -> Figures:
    from studio.workshop.versions import remedies

    attempt.phase("data.order")
    losses = {"losses": _losses(values)}
    return {"manifest": remedies.order(Path(values["parent"]), values["options"], output / "version", **losses)}


def _system_prompt(attempt: Attempt, values: dict[str, Any], output: Path) -> Figures:
    from studio.workshop.versions.system_prompt import add_system_prompt

    attempt.phase("data.system_prompt")
    return {"manifest": add_system_prompt(Path(values["parent"]), values["system"], output / "version")}


def _marks(attempt: Attempt, values: dict[str, Any], output: Path) -> Figures:
    from studio.workshop.labelling.apply_marks import from_job

    attempt.phase("data.marks")
    return {"manifest": from_job(Path(values["parent"]), output / "version", values)}


def _augment(attempt: Attempt, values: dict[str, Any], output: Path) -> Figures:
    from studio.workshop.adding.augmenting import augment

    attempt.phase("data.augment")
    manifest, added = augment(Path(values["parent"]), values["options"], output / "version")
    return {"manifest": manifest, "added": added}


def _accept(attempt: Attempt, values: dict[str, Any], output: Path) -> Figures:
    from studio.workshop.adding.accepting import accept

    attempt.phase("data.written.accept")
    parent, report = Path(values["parent"]), Path(values["candidates"])
    manifest, counts = accept(parent, report, values["rows"], output / "version", only=values["only"])
    return {"manifest": manifest, **counts}


def _sampled(attempt: Attempt, values: dict[str, Any], output: Path) -> Figures:
    from studio.rewards import judged_answers, kept

    attempt.phase("data.sampled")
    samples = kept.read_samples(Path(values["samples"]))
    manifest, counts = judged_answers.sampled(Path(values["version"]), samples, output / "version")
    return {"manifest": manifest, **counts}


def _pairs(attempt: Attempt, values: dict[str, Any], output: Path) -> Figures:
    """Pairs of answers that were rated in a round, or marked while a reward was tried."""
    from studio.rewards import judged_answers

    attempt.phase("data.rated_pairs")
    version = Path(values["version"])
    if values.get("marks") is not None:
        judged = judged_answers.marked(version, values["marks"])
    else:
        scores = {int(row): score for row, score in values["scores"].items()}
        judged = judged_answers.rated(version, scores, values["cheats"])
    manifest, counts = judged_answers.write_pairs(version, judged, output / "version", parameters=values["told"])
    return {"manifest": manifest, **counts}


def _restore(attempt: Attempt, values: dict[str, Any], output: Path) -> Figures:
    from studio.workshop.versions.restore import restore

    attempt.phase("data.restore")
    ancestors = [Path(each) for each in values["ancestors"]]
    chosen = {"rows": values.get("rows"), "code": values.get("code"), "progress": _progress(attempt)}
    return {"manifest": restore(Path(values["parent"]), ancestors, output / "version", **chosen)}


def _pull(attempt: Attempt, values: dict[str, Any], output: Path) -> Figures:
    from studio.workshop.versions import remote
    from studio.workshop.versions.reader import read_manifest

    attempt.phase("data.pull")
    chosen = {"name": values["remote_name"], "version": values.get("version"), "progress": _progress(attempt)}
    pulled = remote.pull(values["remote"], output / "version", **chosen)
    return {"manifest": read_manifest(output / "version"), **msgspec.to_builtins(pulled)}


# -- reports ---------------------------------------------------------------------------------------------------------


def _look(attempt: Attempt, values: dict[str, Any], output: Path) -> Figures:
    from studio.workshop import cleaning, recipe

    attempt.phase("data.look")
    told = {"phase": attempt.phase, "progress": _progress(attempt)}
    steps = recipe.parse(values["recipe"])
    cleaning.look(Path(values["version"]), steps, output / "report", tokens=values.get("tokens"), **told)
    return {"report": values["report"]}


def _teach(attempt: Attempt, values: dict[str, Any], output: Path) -> Figures:
    from studio.workshop.labelling.taught import teach

    attempt.phase("data.teach")
    marks = {int(row): is_kept for row, is_kept in values["marks"].items()}
    named = {"dataset": values["name"], "number": values["number"]}
    made = teach(Path(values["version"]), marks, output / "report", **named)
    return {"report": values["report"], "accuracy": made.accuracy}


def _check(attempt: Attempt, values: dict[str, Any], output: Path) -> Figures:
    from studio.workshop.checking import check
    from studio.workshop.table import load

    attempt.phase("data.check")
    extras = {"tokens": values.get("tokens"), "losses": _losses(values)}
    if values.get("against"):
        extras["against"] = load(Path(values["against"]))
    told = {"phase": attempt.phase, "progress": _progress(attempt)}
    check(Path(values["version"]), values["checks"], output / "report", extras=extras, **told)
    return {"report": values["report"]}


def _diff(attempt: Attempt, values: dict[str, Any], output: Path) -> Figures:
    from studio.workshop.versions.diff import compare

    attempt.phase("data.diff")
    compare(Path(values["a"]), Path(values["b"]), output / "report", progress=_progress(attempt))
    return {"report": values["report"]}


# -- out of the studio -----------------------------------------------------------------------------------------------


def _export(attempt: Attempt, values: dict[str, Any], output: Path) -> Figures:
    from studio.workshop.versions.export import export

    attempt.phase("data.export")
    folder = output / "export"
    folder.mkdir()
    made = export(
        Path(values["version"]), folder / values["file"], format=values["format"], progress=_progress(attempt)
    )
    figures = msgspec.to_builtins(made)
    place = {name: str(Path(values["place"]) / Path(figures[name]).name) for name in ("file", "dvc", "manifest_file")}
    return figures | place


def _push(attempt: Attempt, values: dict[str, Any], output: Path) -> Figures:
    from studio.workshop.versions import remote

    attempt.phase("data.push")
    named = {"name": values["remote_name"], "version": values["number"], "progress": _progress(attempt)}
    return msgspec.to_builtins(remote.push(Path(values["version"]), values["remote"], **named))


def _losses(values: dict[str, Any]) -> Any | None:
    """A model's losses on the rows, where the job was given them."""
    from studio.workshop import row_losses

    return row_losses.read(Path(values["losses"])) if values.get("losses") else None


def _progress(attempt: Attempt) -> Callable[[float, float, str], None]:
    def report(done: float, total: float, unit: str) -> None:
        attempt.events.write("progress", done=done, total=total, unit=unit, seconds_left=None)

    return report


OPERATIONS = {
    "import": _import,
    "revise": _revise,
    "clean": _clean,
    "split": _clean,
    "mix": _mix,
    "balance": _balance,
    "order": _order,
    "system_prompt": _system_prompt,
    "augment": _augment,
    "accept": _accept,
    "sampled": _sampled,
    "rated_pairs": _pairs,
    "restore": _restore,
    "marks": _marks,
    "pull": _pull,
    "look": _look,
    "check": _check,
    "teach": _teach,
    "diff": _diff,
    "export": _export,
    "push": _push,
}

if __name__ == "__main__":
    run_attempt(main)

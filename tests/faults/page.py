"""docs/reliability.md, from what the series found: `python -m tests.faults --page`."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from tests.faults.ways import WAYS

HEAD = """# Reliability

What was done to runs, and how many ended as if nobody had done anything. Made by `python -m tests.faults --page` from
`tests/faults/results.jsonl`; `python -m tests.faults --help` tells how to go on with the series or repeat one trial.

Each trial is a real run with a tiny model (two layers, bytes as tokens), or where a line says so with the starter model
(135 million real weights), under the real supervisor and registry, on a CPU. The ways of training stand in
`tests/faults/ways.py`: supervised fine-tuning by the name of what is tuned, other methods by their own with LoRA.
**Survived** means: without a person it ended as succeeded, and its last weights are, bit for bit, those of the run that
nobody disturbed. A run that was stopped or paused is resumed by one press.
"""
MENDED = """What the series found, mended since: a stop at the end of a step with an evaluation due left that evaluation
out, and with it a draw from the random generator, so that what went on from there ended with other weights. A test of
its own shows it now (`tests/trainers/test_going_on.py`).
A bit flipped in a key of a manifest was an unexpected error that ended the resumed run; it is damage like any
other now (`tests/unit/test_manifest.py`, every bit).
On a processor with AVX-512 for bfloat16, QLoRA runs of the starter model that were resumed after a validation ended
with other weights: bitsandbytes packs 4-bit weights anew on their first pass outside of training, rounds their scales,
and passes no gradient on from there. It is kept from that now (`tests/trainers/test_tunings.py`), for the sake of the
undisturbed run as well, which had learned less from its first validation on.
One stop (PPO with a critic of its own) was counted before a killed child had given its memory back; the trial waits for
that now, up to the 15 s.
"""
WHAT = {
    "kill": "killed (SIGKILL) at a random moment of its life",
    "kill in a save": "killed while a random checkpoint was written, after a random number of its files",
    "stop": "stopped, stopped at once or paused at a random moment, then resumed",
    "damage": "killed, and its newest checkpoint damaged before the studio looked at it",
}


def page(results: Iterable[Mapping[str, Any]]) -> str:
    """The whole page; a trial that was repeated counts as it ended last."""
    last = list({each["name"]: each for each in results}.values())
    by_kind: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for each in last:
        by_kind[each["kind"]].append(each)
    parts = [HEAD, _by_kind(by_kind), _by_damage(by_kind["damage"]), _stops(by_kind["stop"])]
    parts += [_servers(by_kind["server"]), _starts(by_kind["double start"]), _attacks(by_kind["attacks"])]
    parts += [_failed(last)]
    return "\n".join(part for part in parts if part)


def _by_kind(by_kind: Mapping[str, list[Mapping[str, Any]]]) -> str:
    """A line for each way of training, a column for each kind of trial."""
    ways = sorted({each["tuning"] for kind in WHAT for each in by_kind[kind]}, key=_place)
    lines = [f"| way of training | {' | '.join(WHAT.values())} |", f"|---|{'---|' * len(WHAT)}"]
    for way in ways:
        found = [[each for each in by_kind[kind] if each["tuning"] == way] for kind in WHAT]
        lines.append(f"| {way} | {' | '.join(_share(trials) if trials else '–' for trials in found)} |")
    lines.append(f"| together | {' | '.join(_share(by_kind[kind]) for kind in WHAT)} |")
    kills = [each for kind in ("kill", "kill in a save") for each in by_kind[kind]]
    told = f"\nSurvived of tried. Kills together: {_share(kills)}.{_untried(ways)}\n"
    return "\n".join([*lines, told])


def _place(way: str) -> int:
    """As they stand in `tests.faults.ways`."""
    return list(WAYS).index(way) if way in WAYS else len(WAYS)


def _untried(ways: list[str]) -> str:
    left = [way for way in WAYS if way not in ways]
    return f" Not tried yet: {', '.join(left)}." if left else ""


def _by_damage(trials: list[Mapping[str, Any]]) -> str:
    sorts: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for each in trials:
        sorts[each["detail"].partition(":")[0]].append(each)
    if not sorts:
        return ""
    lines = [f"| {sort} | {_share(found)} |" for sort, found in sorted(sorts.items())]
    note = (
        "The damaged one is set aside, told on the run's page and not deleted; the run goes on from the one before.\n"
    )
    return "\n".join(["## Damaged checkpoints\n", note, "| damage | survived of tried |", "|---|---|", *lines, ""])


BEFORE = {"None": "beginning"}
"""Whoever is stopped before it has told a phase."""


def _stops(trials: list[Mapping[str, Any]]) -> str:
    seconds = [float(found[1]) for each in trials if (found := re.search(r"gone in ([\d.]+) s", each["detail"]))]
    if not seconds:
        return ""
    phases = Counter(found[1] for each in trials if (found := re.search(r"while (\w+)", each["detail"])))
    where = ", ".join(f"{BEFORE.get(phase, phase)} {count}" for phase, count in phases.most_common())
    told = f"The process and all that it had started were gone within {max(seconds):.1f} s (to reach: 15 s)"
    patience = (
        "A job that does not hear is killed: within these 15 s where it was told to stop at once, else after 120 s "
        "without a sign of life, and 1,800 s where it saves, for a save that is cut off is lost."
    )
    return f"## Stops\n\n{told}, in {len(seconds)} stops. What the runs did then: {where}. {patience}\n"


def _servers(trials: list[Mapping[str, Any]]) -> str:
    if not trials:
        return ""
    batches = {each["detail"] for each in trials}
    found = [re.findall(r"(\d+) (\w+)", batch) for batch in batches]
    sums = Counter()
    for batch in found:
        sums.update({word: int(number) for number, word in batch})
    told = f"{sums['lost']} events lost and {sums['doubled']} doubled of {sums['events']:,}, in {sums['jobs']} jobs"
    ends = "each with the end that it should have" if all(each["is_survived"] for each in trials) else "see below"
    return f"## Servers killed\n\n{len(trials)} kills (SIGKILL) at random moments while jobs ran: {told}, {ends}.\n"


def _starts(trials: list[Mapping[str, Any]]) -> str:
    if not trials:
        return ""
    twice = sum(not each["is_survived"] for each in trials)
    return (
        f"## Train pressed twice\n\n{len(trials)} rounds of two clients at the same instant: {twice} double starts.\n"
    )


def _attacks(trials: list[Mapping[str, Any]]) -> str:
    told = " ".join(each["detail"] for each in trials)
    more = "[security.md](security.md) says what each tries, and what the studio does about it"
    return f"## Attacks\n\nOf `tests/security`, through HTTP and in Chromium: {told}. {more}.\n" if told else ""


def _failed(trials: list[Mapping[str, Any]]) -> str:
    failed = [f"- {each['name']}: {each['detail']}. {each['problem']}" for each in trials if not each["is_survived"]]
    return "\n".join(["## Not survived\n", *(failed or ["None."]), "", MENDED, ""])


def _share(trials: Iterable[Mapping[str, Any]]) -> str:
    ends = [each["is_survived"] for each in trials]
    return f"{sum(ends)} of {len(ends)}"

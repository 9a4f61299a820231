"""A series of trials: `python -m tests.faults --trials 200`; what was done before is not done again.

Each trial is appended to results.jsonl as it ends; `--page` makes docs/reliability.md of them. The seed of a trial
is its kind, way and number, so a failed one can be run again by itself: `--only "kill lora 17"`.
"""

import argparse
import json
import random
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from xml.etree import ElementTree

from studio.paths import PROJECT_ROOT
from tests.faults.double_starts import double_starts
from tests.faults.page import page
from tests.faults.server_kills import kill_servers
from tests.faults.studio import fault_studio
from tests.faults.trials import TRIALS, Trial, undisturbed
from tests.faults.ways import FIRST, TINY, WAYS

KILLS = 20
"""Kills of the server in a batch, before its registry is looked through."""
PAGE = PROJECT_ROOT / "docs" / "reliability.md"
RESULTS = Path(__file__).with_name("results.jsonl")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=70, help="of each kind and way")
    ways = [*WAYS, "all"]
    parser.add_argument("--ways", nargs="*", choices=ways, default=FIRST, help="of training; all: every tiny one")
    parser.add_argument("--kinds", nargs="*", choices=list(TRIALS), default=list(TRIALS))
    parser.add_argument("--at-most", type=int, default=None, help="trials in this go")
    parser.add_argument("--server-kills", type=int, default=0, help=f"batches of {KILLS} kills of the server instead")
    parser.add_argument("--only", nargs="*", help="these trials again, by their names")
    parser.add_argument("--double-starts", type=int, default=0, help="rounds of two presses of Train instead")
    parser.add_argument("--attacks", type=Path, help="count those in this report of pytest (JUnit XML)")
    parser.add_argument("--page", action="store_true", help=f"write {PAGE.name} from what was found so far and leave")
    asked = parser.parse_args()
    if asked.page:
        PAGE.write_text(page(results()), "utf-8")
        return
    if asked.attacks:
        count_attacks(asked.attacks)
        return
    known = {each["name"] for each in results()}
    if asked.server_kills:
        kill_servers_again(asked.server_kills, known)
        return
    if asked.double_starts:
        press_twice(asked.double_starts)
        return
    chosen = TINY if "all" in asked.ways else asked.ways
    names = [f"{kind} {way} {n}" for n in range(asked.trials) for way in chosen for kind in asked.kinds]
    run(asked.only or [name for name in names if name not in known][: asked.at_most])


def run(names: list[str]) -> None:
    """Do these trials in order, and tell each as it ends."""
    ways = list(dict.fromkeys(parts(name)[1] for name in names))
    with tempfile.TemporaryDirectory() as folder, fault_studio(Path(folder) / "studio", ways=ways) as studio:
        references = {}
        for name in names:
            kind, way = parts(name)
            if way not in references:
                references[way] = undisturbed(studio, way)
            trial = TRIALS[kind](studio, way, references[way], random.Random(name))
            with RESULTS.open("a") as file:
                file.write(json.dumps({"name": name} | asdict(trial)) + "\n")
            sys.stderr.write(f"{'ok ' if trial.is_survived else 'NOT'} {name}: {trial.detail} {trial.problem}\n")


def parts(name: str) -> tuple[str, str]:
    """Kind and way of a trial: "kill in a save starter lora 3" -> ("kill in a save", "starter lora")."""
    kind = max((each for each in TRIALS if name.startswith(f"{each} ")), key=len)
    return kind, name.removeprefix(f"{kind} ").rpartition(" ")[0]


def kill_servers_again(batches: int, known: set[str]) -> None:
    """So many batches of `KILLS` server kills; every kill of a batch survived if nothing of the batch was lost."""
    for number in range(batches):
        name = f"server kills {number}"
        if f"{name}.0" in known:
            continue
        with tempfile.TemporaryDirectory() as folder:
            found = kill_servers(Path(folder) / "studio", kills=KILLS, chance=random.Random(name))
        detail = f"{found.jobs} jobs, {found.events} events, {found.lost} lost, {found.doubled} doubled"
        problem = "" if found.is_clean else f"{detail}; {found.wrong_ends}"
        trial = Trial(kind="server", tuning="any", detail=detail, is_survived=found.is_clean, problem=problem)
        with RESULTS.open("a") as file:
            for kill in range(KILLS):
                file.write(json.dumps({"name": f"{name}.{kill}"} | asdict(trial)) + "\n")
        sys.stderr.write(f"{'ok ' if found.is_clean else 'NOT'} {name}: {detail} {problem}\n")


def press_twice(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        runs = double_starts(Path(folder) / "studio", rounds=rounds)
    with RESULTS.open("a") as file:
        for number, count in enumerate(runs):
            trial = Trial(kind="double start", tuning="any", detail=f"{count} runs", is_survived=count == 1)
            file.write(json.dumps({"name": f"double start {number}"} | asdict(trial)) + "\n")
    sys.stderr.write(f"runs of each round: {runs}\n")


def count_attacks(report: Path) -> None:
    """What a report of pytest tells of `tests/security`; one that failed may have left a mark."""
    cases = [
        case for case in ElementTree.parse(report).iter("testcase") if "tests.security" in case.get("classname", "")
    ]
    tried = [case for case in cases if case.find("skipped") is None]
    left = sum(case.find("failure") is not None or case.find("error") is not None for case in tried)
    trial = Trial(kind="attacks", tuning="any", detail=f"{len(tried)} tried, {left} left a mark", is_survived=not left)
    with RESULTS.open("a") as file:
        file.write(json.dumps({"name": "attacks"} | asdict(trial)) + "\n")


def results() -> list[dict]:
    return [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []


if __name__ == "__main__":
    main()

"""`luthier rewards`: the rules there are, a reward checked, tried before a run learns from it, and answers rated.

    luthier rewards list --json                 [{"name", "title", "range", "needs", "options": [...]}]
    luthier rewards check reward.yaml           its rules, its range and its hash; or what is wrong with it
    luthier rewards try shop --model starter    not green yet: ... (without a file one is proposed from the rows)
    luthier rewards rate shop shop-answers      what the model said then, as rows to rate (luthier data label start)
    luthier rewards pairs 3 shop-pairs          preference pairs of the ratings of round 3

`try`, `rate` and `pairs` go through the server as jobs that are followed here; the others only read.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from app import show
from app.commands import AsJson, done, registry
from studio.db import datasets
from studio.errors import RefusedInput
from studio.graders import declared as graders
from studio.messages import say
from studio.paths import workspace
from studio.rewards import kept, recipe
from studio.rewards.recipe import MANY_RULES, Recipe
from studio.rewards.report import GREEN

app = typer.Typer(help="Rewards that a run learns from, tried before it.", no_args_is_help=True)


@app.command("list")
def list_rules(as_json: AsJson = False) -> None:
    """List the rules that a reward is made of, with their settings."""
    known = [_grader(name) for name in graders.GRADERS]
    show.lines(known, (_grader_line(each) for each in known), as_json=as_json)


@app.command("check")
def check(file: Path, as_json: AsJson = False) -> None:
    """Read a reward from a YAML file and say what it is, or what is wrong with it."""
    found = read_reward(file)
    document = {
        **recipe.to_document(found),
        "hash": recipe.digest(found),
        "range": list(found.range),
        "needs": {key: list(wanted) for key, wanted in recipe.needs(found).items()},
        "rules": [
            {"key": key, "judges": rule.judges, "weight": weight, "range": list(rule.range)}
            for key, rule, weight in zip(found.keys, found.rules, found.weights, strict=True)
        ],
    }
    show.lines(document, _check_lines(found), as_json=as_json)


@app.command("try")
def try_reward(  # noqa: PLR0913 - each argument is one option of the command
    dataset: str,
    reward: Annotated[Path | None, typer.Option(help="YAML file; without it a reward is proposed.")] = None,
    model: Annotated[str | None, typer.Option(help="The untouched model whose answers are tried too.")] = None,
    rows: Annotated[int | None, typer.Option(help="Rows that are tried; 100 unless said.")] = None,
    samples: Annotated[int | None, typer.Option(help="Answers of the model to each question; 4 unless said.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Time for the model to answer; 180 unless said.")] = None,
    as_json: AsJson = False,
) -> None:
    """Try a reward on a data set: is good told from bad, can it be cheated, does the model ever score?"""
    chosen = recipe.to_document(read_reward(reward)) if reward else None
    asking = {"rows": rows, "samples": samples, "seconds": seconds}
    asking = {name: value for name, value in asking.items() if value is not None}
    done("try_reward", name=dataset, reward=chosen, model=model, asking=asking)
    with registry() as session:
        version = datasets.dataset(session, dataset)
    found = kept.newest(workspace(), version.content_hash)
    assert found is not None
    show.lines(msgspec.to_builtins(found, str_keys=True), _trial_lines(found), as_json=as_json)


@app.command("rate")
def rate(dataset: str, into: str, as_json: AsJson = False) -> None:
    """Make what a model said while a reward was tried a new data set, to be rated in a labelling round."""
    done("rate_samples", name=dataset, into=into)
    _show_made(into, as_json=as_json)


@app.command("pairs")
def pairs(number: int, into: str, as_json: AsJson = False) -> None:
    """Make preference pairs, a new data set, of a labelling round in which answers were rated."""
    done("pairs_of_ratings", round_id=number, into=into)
    _show_made(into, as_json=as_json)


def _show_made(name: str, *, as_json: bool) -> None:
    with registry() as session:
        made = datasets.dataset(session, name)
    show.datasets([made], as_json=as_json)


def read_reward(file: Path) -> Recipe:
    """
    Raises:
        RefusedInput: no such file, no YAML, or no reward.
    """
    try:
        return recipe.parse_yaml(file.read_text("utf-8"), file=str(file))
    except (OSError, UnicodeDecodeError):
        raise RefusedInput("reward.no_such_file", file=str(file)) from None


def _grader(name: str) -> dict[str, Any]:
    found = graders.declared(name)
    options = [
        {each: value for each, value in msgspec.to_builtins(info).items() if value is not None and value != ()}
        for info in graders.options_of(name)
    ]
    words = {"title": found.title["en"], "help": found.help["en"]}
    facts = {"judges": found.dimension, "range": list(found.range), "runs": found.runs, "needs": list(found.needs)}
    return {"name": name, **words, **facts, "options": options}


def _grader_line(known: dict[str, Any]) -> str:
    low, high = known["range"]
    settings = ", ".join(each["name"] for each in known["options"])
    return f"{known['name']:<16} {f'{low:g}..{high:g}':<7} {known['title']} ({settings})"


def _check_lines(found: Recipe) -> Iterator[str]:
    for key, rule, weight in zip(found.keys, found.rules, found.weights, strict=True):
        low, high = rule.range
        yield f"{key:<18} {weight:g} × {low:g}..{high:g}  {rule.judges}"
    yield say("reward.cli.range", low=f"{found.range[0]:g}", high=f"{found.range[1]:g}", hash=recipe.digest(found)[:12])
    if len(found.rules) >= MANY_RULES:
        yield say("reward.reason.many_rules", count=len(found.rules))


def _trial_lines(found: kept.Trial) -> Iterator[str]:
    """For people: the verdict, each reason, and the mean reward of each kind of answers."""
    report = found.report
    if found.is_proposed:
        yield recipe.to_yaml(recipe.parse(report.recipe)).rstrip()
    for each in report.kinds:
        mean = "–" if each.mean is None else f"{each.mean:.2f}"
        yield f"{say(f'reward.kind.{each.kind}'):<36} {mean:>6}  {each.answers}"
    for reason in report.reasons:
        yield f"{'✗' if reason.stops else '·'} {say(f'reward.reason.{reason.code}', **reason.values)}"
    yield say("reward.verdict.green" if found.verdict == GREEN else "reward.verdict.not_yet")

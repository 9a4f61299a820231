"""The rewards that the Train page offers by name, when to take each, and what a run tells of the one that it took.

choices(context, seen)     [("Label, Length penalty · green", "<hash>"), ..., ("my own rules, below", "")]
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from app.context import Context
from app.i18n import page_path
from app.markup import link
from app.rewards import words
from studio.errors import RefusedInput
from studio.rewards import kept, recipe
from studio.rewards.judges import settled
from studio.rewards.kept import TriedReward
from studio.rewards.report import GREEN

if TYPE_CHECKING:
    from app.training_form import Seen

OWN = ""
"""The rules as they are written below."""
MOST_OFFERED = 12


def choices(context: Context, seen: "Seen") -> list[list[str]]:
    """(words, hash) of the rewards that were tried, those on these rows first; at last one's own."""
    say, found = context.say, []
    for each, is_here in _offered(context, seen).values():
        state = _state(each, is_here)
        found.append([say("train.reward.choice", name=name_of(context, each), state=say(state)), each.report.hash])
    return [*found, [say("train.reward.own"), OWN]]


def document(context: Context, seen: "Seen", chosen: str) -> dict[str, Any] | None:
    """The reward of this hash; None where it is not offered (any more)."""
    found = _offered(context, seen).get(chosen)
    return dict(found[0].report.recipe) if found else None


def chosen_of(context: Context, seen: "Seen", rewards: Any) -> str:
    """The hash of what stands in the field, its models named for certain, if it is one of those that are offered."""
    try:
        found = recipe.digest(settled(recipe.parse(rewards), seen.known.get("judges", {}))) if rewards else OWN
    except RefusedInput:
        return OWN
    return found if found in _offered(context, seen) else OWN


def note_html(context: Context, seen: "Seen", chosen: str) -> str:
    """When to take what is chosen, and the way to the tab where a reward is made and tried."""
    say, offered = context.say, _offered(context, seen)
    if chosen in offered:
        each, is_here = offered[chosen]
        told = _when(context, each, is_here)
    else:
        told = say("train.reward.when.own" if offered else "train.reward.when.none")
    name = seen.version.name if seen.version else None
    place = page_path(context.language, "data", **({"dataset": name, "tab": "reward"} if name else {}))
    way = link(place, say("train.reward.make"))
    return f'<p class="lu-why lu-when">{escape(told)} {way}</p>'


def name_of(context: Context, each: TriedReward) -> str:
    """The person's name for it, else its rules."""
    found = recipe.parse(each.report.recipe)
    comma = context.say("common.list_comma")
    return found.name or comma.join(words.titles(context, found).values())


def run_html(context: Context, told: Mapping[str, Any] | None) -> str:
    """Of a run's plan: whether its reward was tried before, and what that came to."""
    if not told:
        return ""
    say = context.say
    name = f"“{told['name']}”" if told.get("name") else ""
    sentence = say(f"runs.reward.{told['verdict']}", name=name, model=told.get("model") or say("reward.page.no_model"))
    mark = "✓" if told["verdict"] == GREEN else "▲"
    return f"<p>{mark} {escape(sentence)}</p>"


def _offered(context: Context, seen: "Seen") -> dict[str, tuple[TriedReward, bool]]:
    """{hash: the trial that tells most, whether it was on these rows}."""
    if seen.version is None:
        return {}
    here: Sequence[TriedReward] = seen.known.get("rewards", ())
    model = seen.base.name if seen.base else None
    found: dict[str, tuple[TriedReward, bool]] = {}
    for each in sorted(here, key=lambda each: each.model != model):  # with this model first, else in order
        found.setdefault(each.report.hash, (each, True))
    for each in kept.tried_elsewhere(context.desk.workspace, seen.version.content_hash):
        found.setdefault(each.report.hash, (each, False))
    known = {key: each for key, each in found.items() if _is_readable(each[0])}
    return dict(list(known.items())[:MOST_OFFERED])


def _is_readable(each: TriedReward) -> bool:
    """A later studio may know other rules."""
    try:
        recipe.parse(each.report.recipe)
    except RefusedInput:
        return False
    return True


def _state(each: TriedReward, is_here: bool) -> str:
    return f"train.reward.state.{each.verdict if is_here else 'elsewhere'}"


def _when(context: Context, each: TriedReward, is_here: bool) -> str:
    say = context.say
    if not is_here:
        return say("train.reward.when.elsewhere", dataset=each.dataset)
    if each.verdict == GREEN:
        return say("train.reward.when.green", model=each.model or say("reward.page.no_model"))
    return say("train.reward.when.not_yet", count=sum(reason.stops for reason in each.report.reasons))

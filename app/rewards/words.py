"""Words of rules: what a grader, its options and a rule's value are called, in the language of the page."""

import re
from collections.abc import Mapping
from typing import Any

from app.context import Context
from studio.graders import declared as graders
from studio.graders.declared import Declared
from studio.graders.score import Score
from studio.messages import has
from studio.rewards.recipe import Recipe


class GraderWords:
    """A grader's words for its options, as `app.data.options` asks for them."""

    def __init__(self, context: Context, declared: Declared, models: Mapping[str, str] | None = None) -> None:
        """
        Args:
            models: {name: what it is called} of the models that the grader may ask.
        """
        self._language = context.language
        self._declared = declared
        self._models = models or {}

    def label(self, option: str) -> str:
        return self._declared.options[option].label[self._language]

    def help(self, option: str) -> str:
        return self._declared.options[option].help.get(self._language, "")

    def choice(self, option: str, value: Any) -> str:
        if option == "model":
            return self._models.get(str(value), str(value))
        words = self._declared.options[option].choices.get(str(value))
        return words[self._language] if words else str(value)


def title(context: Context, name: str) -> str:
    return graders.declared(name).title[context.language]


def titles(context: Context, recipe: Recipe) -> dict[str, str]:
    """{rule's key: its name}; a second rule of a kind bears its number."""
    return {
        key: title(context, rule.name) + (f" ({key.rpartition('_')[2]})" if key != rule.name else "")
        for key, rule in zip(recipe.keys, recipe.rules, strict=True)
    }


def dimension(context: Context, name: str) -> str:
    """What a rule judges: the studio's word for it, or the person's own."""
    key = f"reward.judges.{name}"
    return context.say(key) if has(key) else name


def alert_values(context: Context, alert: Mapping[str, Any]) -> dict[str, Any]:
    """What an alert's sentence names; a rule that had no score by its title, with the reason in words."""
    values = dict(alert["values"])
    if alert["code"] != "reward_missing":
        return values
    name = re.sub(r"_\d+$", "", values["rule"])
    rule = title(context, name) if name in graders.GRADERS else values["rule"]
    key = f"reward.why.{values['why']}"
    reason = context.say(key, detail="…").rstrip(".。") if has(key) else values["why"]
    return values | {"rule": rule, "why": reason}


def why(context: Context, score: Score) -> str:
    """Why a score is missing or not the best; nothing for the best."""
    return context.say(f"reward.why.{score.why}", detail=score.detail) if score.why else ""

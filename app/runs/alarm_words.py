"""An alarm's measures as its sentences show them, on the page and on the command line."""

from collections.abc import Mapping
from typing import Any

from app.i18n import number_text
from studio.alarms.watching import Alarm
from studio.messages import say

_RULES = ("full_rule", "fallen_rule")


def sentence_values(alarm: Alarm, titles: Mapping[str, str]) -> dict[str, str]:
    """Numbers short, shares as percent too, rules by their names.

    Args:
        titles: what a reward's rules are called; one that is not named goes by its key.
    """
    found = {}
    for name, value in alarm.values.items():
        if name in _RULES:
            found[name] = titles.get(value, value)
            continue
        found[name] = "–" if value is None else number_text(float(f"{value:.3g}"))
        found[f"{name}_percent"] = "–" if value is None else f"{100 * value:.0f} %"
    return found


def document(alarm: Alarm) -> dict[str, Any]:
    """An alarm as the command line tells it."""
    values = sentence_values(alarm, {})
    said = {part: say(f"alarms.{part}.{alarm.code}", **values) for part in ("title", "seen", "why", "hint")}
    return {"code": alarm.code, "severity": alarm.rule.severity, **said, "changes": list(alarm.changes)}

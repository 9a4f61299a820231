"""HTML of the checks before a run: what was found, why it matters, and one button that mends it."""

from collections.abc import Collection, Mapping
from html import escape
from types import MappingProxyType
from typing import TYPE_CHECKING

from app.context import Context
from app.i18n import page_path
from app.markup import link

if TYPE_CHECKING:
    from app.training_form import Plan
    from studio.advisor.preflight import Finding

_TONES: Mapping[str, str] = MappingProxyType({"error": "bad", "warning": "warn", "info": "info"})
_ICONS: Mapping[str, str] = MappingProxyType({"error": "✕", "warning": "▲", "info": "ⓘ"})


def checks_html(context: Context, plan: "Plan", *, changed: Collection[str] = (), is_clean: bool = True) -> str:
    """Each finding with its severity as icon and word, why it matters, and its button.

    Args:
        changed: fields that going back to the recommended value could mend.
        is_clean: nothing else was found either.
    """
    is_good = is_clean and all(each.severity == "info" for each in plan.findings)
    good = f'<p class="lu-good">✓ {escape(context.say("train.plan.no_findings"))}</p>' if is_good else ""
    listed = "".join(_finding(context, each, plan, changed) for each in plan.findings)
    return good + (f'<ul class="lu-checks">{listed}</ul>' if listed else "")


def _finding(context: Context, finding: "Finding", plan: "Plan", changed: Collection[str]) -> str:
    severity = f"{_ICONS[finding.severity]} {context.say(f'train.severity.{finding.severity}')}"
    text, why = escape(finding.message(context.language)), escape(finding.why(context.language))
    button = _button(context, finding, plan, changed)
    return (
        f'<li data-finding="{finding.code}"><span class="lu-{_TONES[finding.severity]}">{escape(severity)}:</span> '
        f'{text} <span class="lu-note">{why}</span>{button}</li>'
    )


def _button(context: Context, finding: "Finding", plan: "Plan", changed: Collection[str]) -> str:
    """Going back to what is recommended, where that helps; else a look that settles it, or the way to where it is."""
    rule, say = finding.rule, context.say
    if set(rule.mend) & set(changed):
        return _pressed("mend", finding.code, say("train.mend"))
    if rule.look:
        if plan.is_looking and rule.look != "again":
            return f' <span class="lu-note" role="status">{escape(say("preflight.looking"))}</span>'
        return _pressed("find", finding.code, say(f"preflight.look.{rule.look}"))
    if not rule.goto:
        return ""
    words = say(f"preflight.go.{rule.goto.lstrip('#').replace('/', '_')}")
    if rule.goto.startswith("#"):
        return " " + link(f"#train-{rule.goto[1:]}-field", words)
    page, _, tab = rule.goto.partition("/")
    query = {"dataset": plan.values["dataset"].partition("@")[0], "tab": tab} if page == "data" else {}
    return " " + link(page_path(context.language, page, **query), words)


def _pressed(does: str, code: str, words: str) -> str:
    asks = f'type="button" class="lu-link" data-do="{does}" data-code="{escape(code)}"'
    return f" <button {asks}>{escape(words)}</button>"

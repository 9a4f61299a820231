"""HTML of the checks before a run: what was found, why it matters, and one button that mends it."""

from collections.abc import Collection, Mapping, Sequence
from html import escape
from types import MappingProxyType
from typing import TYPE_CHECKING

from app.context import Context

if TYPE_CHECKING:
    from studio.advisor.preflight import Finding

_TONES: Mapping[str, str] = MappingProxyType({"error": "bad", "warning": "warn", "info": "info"})
_ICONS: Mapping[str, str] = MappingProxyType({"error": "✕", "warning": "▲", "info": "ⓘ"})


def checks_html(
    context: Context,
    findings: Sequence["Finding"],
    *,
    changed: Collection[str] = (),
    is_clean: bool = True,
    dataset: str = "",
) -> str:
    """Each finding with its severity as icon and word, why it matters, and its button.

    Args:
        changed: fields that going back to the recommended value could mend.
        is_clean: nothing else was found either.
        dataset: the data set whose page the buttons about data lead to.
    """
    if not findings:
        return f'<p class="lu-good">✓ {escape(context.say("train.plan.no_findings"))}</p>' if is_clean else ""
    return f'<ul class="lu-checks">{"".join(_finding(context, each, changed, dataset) for each in findings)}</ul>'


def finding_text(context: Context, finding: "Finding") -> str:
    """What was found; findings that refuse a run are worded as errors."""
    area = "errors.preflight" if finding.severity == "error" else "advice"
    return context.say(f"{area}.{finding.code}", **finding.values)


def _finding(context: Context, finding: "Finding", changed: Collection[str], dataset: str) -> str:
    severity = f"{_ICONS[finding.severity]} {context.say(f'train.severity.{finding.severity}')}"
    text = escape(finding_text(context, finding))
    button = _button(context, finding, changed, dataset)
    return f'<li><span class="lu-{_TONES[finding.severity]}">{escape(severity)}:</span> {text}{button}</li>'


def _button(context: Context, finding: "Finding", changed: Collection[str], dataset: str) -> str:
    if set(finding.mend) & set(changed):
        asks = f'type="button" class="lu-link" data-do="mend" data-code="{escape(finding.code)}"'
        return f" <button {asks}>{escape(context.say('train.mend'))}</button>"
    return ""

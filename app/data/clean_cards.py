"""The cards of the Clean tab: for each step what it found, with examples, and what it would do."""

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from app import dataset_view as view
from app.context import Context
from app.data import controls, histogram, options, words
from app.data.panel import State
from app.markup import chip
from studio.db.datasets import DatasetSummary
from studio.workshop import recipe as recipes
from studio.workshop import reports
from studio.workshop.labelling import taught
from studio.workshop.members import in_member, within
from studio.workshop.recipe import Recipe, RecipeStep
from studio.workshop.reports import CodeReport, Finding, LookReport, StepReport
from studio.workshop.versions.finding import excerpts

PAGE_FINDINGS = 20
FILLED_IN = ("ratings",)
"""Options that the desk fills in."""
_TONES = {"remove": "bad", "change": "info", "mark": "warn"}


@dataclass(frozen=True)
class Cards:
    """What the cards are drawn from."""

    context: Context
    chosen: DatasetSummary
    recipe: Recipe
    report: LookReport | None
    folder: Path | None
    """Of the report."""
    is_exact: bool
    """Whether the report is about exactly this recipe; else what depends on it is "about"."""
    state: State

    def summary_html(self) -> str:
        """Rows before and after, and how long they are."""
        if self.report is None:
            return ""
        say = self.context.say
        enabled = {step.step for step in self.recipe.steps if step.enabled}
        if self.is_exact:
            seen = reports.Preview(
                rows_before=self.report.rows_before,
                rows_after=self.report.rows_after,
                before=self.report.histogram_before,
                after=self.report.histogram_after,
            )
        else:
            seen = reports.after_toggling(self.report, enabled)
        about = "" if self.is_exact else say("data.clean.about") + " "
        gone = seen.rows_before - seen.rows_after
        facts = say("data.clean.facts", count=gone) if gone else say("data.clean.nothing_goes")
        bars = histogram.bars_html(
            self.context, seen.before, seen.after, tokens_per_character=self.report.tokens_per_character
        )
        return (
            f'<div class="lu-card lu-summary-card"><p class="lu-figure lu-num" role="status">{seen.rows_before:,} → '
            f"{escape(about)}{escape(view.rows_text(self.context, seen.rows_after))}</p>"
            f'<p class="lu-note">{escape(facts)}</p>{bars}</div>'
        )

    def steps_html(self) -> str:
        return "".join(self._card(place, step) for place, step in enumerate(self.recipe.steps))

    def _card(self, place: int, step: RecipeStep) -> str:
        say = self.context.say
        title = say(f"data.clean.step.{step.step}.title")
        on = controls.checkbox(
            f"on.{step.step}", f"{place + 1} · {title}", step.enabled, change="toggle", step=step.step
        )
        help_text = f'<p class="lu-note">{escape(say(f"data.clean.step.{step.step}.help"))}</p>'
        found = self._found(step)
        is_open = self.state.get("unfold") == step.step
        more = controls.button(
            "unfold", say("data.clean.hide_options" if is_open else "data.clean.options"), kind="link", step=step.step
        )
        if is_open:
            more += controls.button("up", say("data.clean.up"), kind="link", step=step.step) if place else ""
            last = place == len(self.recipe.steps) - 1
            more += "" if last else controls.button("down", say("data.clean.down"), kind="link", step=step.step)
        if step.step == "task_schema":
            more += controls.button("derive", say("data.clean.derive"), kind="link", step=step.step)
        if step.step == "noise" and taught.find(self.context.desk.workspace, self.chosen.name):
            way = "by_rules" if step.options.get("quality_model") else "by_marks"
            more += controls.button("learned", say(f"data.clean.{way}"), kind="link")
        form = self._options(step) if is_open else ""
        off = "" if step.enabled else " lu-off"
        head = controls.form(f"<h3>{on}</h3>", classes="lu-card-head")
        return (
            f'<section class="lu-card lu-step{off}" data-step="{step.step}">{head}{help_text}{found}{form}'
            f"<p>{more}</p></section>"
        )

    def _options(self, step: RecipeStep) -> str:
        infos = [each for each in recipes.options_of(step.step) if each.name not in FILLED_IN]
        fields = options.fields_html(self.context, f"clean.{step.step}", infos, step.options, change="options")
        return f'<div data-form data-step="{step.step}" class="lu-form lu-options">{fields}</div>'

    def _found(self, step: RecipeStep) -> str:
        """What the step found, by kind; whether it is what the switches say now stands in the summary."""
        seen = self._report_of(step)
        say = self.context.say
        if seen is None:
            return ""
        if not seen.codes:
            return f'<p class="lu-good">✓ {escape(say("data.clean.found_nothing"))}</p>'
        about = "" if self.is_exact else say("data.clean.about") + " "
        acts = [
            chip(about + self.context.say(f"data.clean.would.{act}", count=count), _TONES[act])
            for act, count in (("remove", seen.removed), ("change", seen.changed), ("mark", seen.marked))
            if count
        ]
        codes = "".join(self._code(seen, each) for each in seen.codes)
        return f'<div class="lu-data-chips">{"".join(acts)}</div><ul class="lu-found">{codes}</ul>'

    def _report_of(self, step: RecipeStep) -> StepReport | None:
        return next((each for each in self.report.steps if each.step == step.step), None) if self.report else None

    def _code(self, seen: StepReport, each: CodeReport) -> str:
        """One kind of finding: how many, an example or two, all of them where asked."""
        say = self.context.say
        kind = words.kind(self.context, each.code)
        count = view.rows_text(self.context, each.rows)
        listed = self.state.get("found") or {}
        if (listed.get("step"), listed.get("code")) == (seen.step, each.code) and self.folder:
            inner = self._listed(seen.step, each, listed.get("start", 0))
        else:
            inner = findings_html(self.context, self.chosen, each.first[:2])
            if each.findings > 2:
                label = say("data.clean.show_all", count=each.findings)
                inner += controls.button("found", label, kind="link", step=seen.step, code=each.code)
        return f"<li><strong>{escape(kind)}</strong> · {escape(count)}{inner}</li>"

    def _listed(self, step: str, each: CodeReport, start: int) -> str:
        say = self.context.say
        shown = reports.read_findings(self.folder, start=start, count=PAGE_FINDINGS, step=step, code=each.code)
        lines = findings_html(self.context, self.chosen, shown)
        place = say("data.rows.place_of", first=start + 1, last=start + len(shown), total=each.findings)
        more = start + PAGE_FINDINGS < each.findings
        turn = controls.pager(say("data.back"), say("data.forward"), place, has_back=start > 0, has_forward=more)
        return lines + turn + controls.button("hide_found", say("data.problems.hide_rows"), kind="link")


def findings_html(context: Context, chosen: DatasetSummary, findings: list[Finding]) -> str:
    """Findings in words, each with what it changes or else with the row's beginning, and a way to the row."""
    named = {each.row for each in findings if each.before is None}
    others = {number for each in findings for number in _others(each)}
    begin = excerpts(Path(chosen.path), named | others, chosen.format)
    source = chosen.manifest["source"]
    return "".join(_finding_html(context, each, begin, within(source, each.row)) for each in findings)


def _finding_html(context: Context, finding: Finding, begin: dict[int, str], place: dict[str, Any]) -> str:
    row = controls.button("row", context.say("data.row", row=finding.row), kind="link", row=finding.row)
    if finding.before is not None:
        shown = view.change_html(context, finding.before, finding.after or "")
    else:
        rows = [number for number in (finding.row, *_others(finding)) if number in begin]
        lines = "".join(
            f'<div><span class="lu-note">{escape(context.say("data.row", row=number))}</span> '
            f"{escape(view.short(begin[number], 240))}</div>"
            for number in rows
        )
        shown = f'<div class="lu-change">{lines}</div>' if lines else ""
    words = in_member(finding.message(context.language), place, context.language)
    return f'<div class="lu-line"><p>{escape(words)} {row}</p>{shown}</div>'


def _others(finding: Finding) -> list[int]:
    """Rows of this data set that a finding names besides its own."""
    if finding.code.endswith("_elsewhere"):
        return []
    named = (finding.values.get(name) for name in ("kept", "other", "nearest"))
    return [number for number in named if isinstance(number, int)]

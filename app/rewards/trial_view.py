"""What trying a reward came to: the verdict and its reasons, bars, each rule, the best and worst answers."""

from html import escape
from typing import Any

from app import dataset_view as view
from app.context import Context
from app.data import controls
from app.i18n import page_path
from app.markup import chip, link, notice, table
from app.rewards import words
from studio.rewards import recipe as recipes
from studio.rewards.answers_to_try import TRIVIAL
from studio.rewards.kept import Trial
from studio.rewards.report import CHEAT, GREEN, KindFigures, RuleFigures, Shown, TrialReport
from studio.workshop.labelling.marks import BAD, GOOD

SHOWN_CHARACTERS = 300
RATINGS = (GOOD, BAD, CHEAT)
METHOD = "grpo"
"""What the link to a run chooses; the form offers the others that learn from rewards."""


def verdict_html(context: Context, trial: Trial | None, document: dict[str, Any], *, is_current: bool) -> str:
    """Green, or why not; and where the cards are another reward than the one that was tried, that."""
    say = context.say
    if trial is None:
        return notice(say("reward.page.not_tried"))
    if not is_current:
        return notice(say("reward.page.changed"), "warn")
    is_green = trial.verdict == GREEN
    head = notice(("✓ " if is_green else "✕ ") + say(f"reward.verdict.{trial.verdict}"), "good" if is_green else "bad")
    proposed = f'<p class="lu-note">{escape(say("reward.page.is_proposed"))}</p>' if trial.is_proposed else ""
    titles = words.titles(context, recipes.parse(document))
    use = page_path(context.language, "train", dataset=trial.dataset, method=METHOD, model=trial.model or "")
    button = controls.buttons(link(use, say("reward.page.use"), classes="lu-button lu-second"))
    return head + proposed + _reasons_html(context, trial.report, titles) + (button if is_green else "")


def figures_html(context: Context, trial: Trial, marks: list[dict[str, Any]]) -> str:
    """Bars, rules and answers of the trial."""
    report, say = trial.report, context.say
    titles = words.titles(context, recipes.parse(report.recipe))
    told = say("reward.page.tried", count=report.rows, model=trial.model or say("reward.page.no_model"))
    return (
        f'<h2 class="lu-part">{escape(say("reward.page.found"))}</h2><p class="lu-note">{escape(told)}</p>'
        + _bars_html(context, report)
        + _kinds_html(context, report)
        + _rules_html(context, report, titles)
        + _agreement_html(context, report)
        + _answers_html(context, "best", report.best, titles, marks)
        + _answers_html(context, "worst", report.worst, titles, marks)
    )


def _reasons_html(context: Context, report: TrialReport, titles: dict[str, str]) -> str:
    lines = []
    for reason in report.reasons:
        values = dict(reason.values)
        for name in ("rule", "rules"):
            if name in values:
                named = [titles.get(key, key) for key in values[name].split(", ")]
                values[name] = context.say("common.list_comma").join(named)
        said = context.say(f"reward.reason.{reason.code}", **values)
        mark = chip("✕" if reason.stops else "•", "bad" if reason.stops else "soft")
        lines.append(f"<li>{mark} {escape(said)}</li>")
    return f'<ul class="lu-checks lu-reward-reasons">{"".join(lines)}</ul>' if lines else ""


def _bars_html(context: Context, report: TrialReport) -> str:
    """How often each reward came, good answers beside cheap and wrong ones."""
    own = _summed(report, ("own",)) or _summed(report, ("sampled",))
    other = _summed(report, ("wrong", *TRIVIAL))
    if own is None or other is None:
        return ""
    say, (low, high) = context.say, report.range
    most = max(max(own) / (sum(own) or 1), max(other) / (sum(other) or 1)) or 1
    width = (high - low) / len(own)
    bars = ""
    for place in range(len(own)):
        edge = low + place * width
        shares = [counts[place] / (sum(counts) or 1) for counts in (other, own)]
        title = f"{edge:.2f} – {edge + width:.2f}: {100 * shares[0]:.0f} % / {100 * shares[1]:.0f} %"
        pair = "".join(
            f'<i class="lu-bar-{side}" style="height:{100 * share / most:.1f}%"></i>'
            for side, share in zip(("before", "after"), shares, strict=True)
        )
        shown = f"{edge:.1f}" if place % 4 == 0 else "\u00a0"
        bars += (
            f'<div title="{escape(title)}"><span class="lu-bars-pair">{pair}</span>'
            f'<span class="lu-bars-edge">{shown}</span></div>'
        )
    legend = "".join(
        f'<span><i class="lu-bar-{side}"></i>{escape(say(f"reward.page.bars.{name}"))}</span>'
        for side, name in (("before", "other"), ("after", "good"))
    )
    title, sentence = say("reward.page.bars.title"), _sentence(context, report)
    return (
        f'<figure class="lu-bars lu-card"><figcaption>{escape(title)} {legend}</figcaption>'
        f'<div class="lu-bars-plot" role="img" aria-label="{escape(sentence)}">{bars}</div></figure>'
        f"<p>{escape(sentence)}</p>"
    )


def _sentence(context: Context, report: TrialReport) -> str:
    parts = []
    if report.wins is not None:
        parts.append(context.say("reward.page.wins", percent=round(100 * report.wins)))
    if report.scoring is not None:
        parts.append(context.say("reward.page.scoring", percent=round(100 * report.scoring)))
    return " ".join(parts) if context.language == "en" else "".join(parts)


def _summed(report: TrialReport, kinds: tuple[str, ...]) -> list[int] | None:
    found = [each.counts for each in report.kinds if each.kind in kinds]
    return [sum(counts) for counts in zip(*found, strict=True)] if found else None


def _kinds_html(context: Context, report: TrialReport) -> str:
    say = context.say
    heads = [say(f"reward.page.column.{name}") for name in ("answers", "mean", "count", "missing", "as_good")]
    rows = [_kind_row(context, each, report) for each in report.kinds]
    return table(heads, rows, caption=say("reward.page.kinds"))


def _kind_row(context: Context, each: KindFigures, report: TrialReport) -> list[str]:
    share = report.trivial.get(each.kind)
    mean = "–" if each.mean is None else f"{each.mean:.2f}"
    as_good = "" if share is None else f"{100 * share:.0f} %"
    missing = f"{each.missing:,}" if each.missing else "–"
    return [escape(context.say(f"reward.kind.{each.kind}")), mean, f"{each.answers:,}", missing, as_good]


def _rules_html(context: Context, report: TrialReport, titles: dict[str, str]) -> str:
    say = context.say
    heads = [
        say(f"reward.page.column.{name}") for name in ("rule", "weight", "own", "wrong", "sampled", "fires", "missing")
    ]
    rows = [_rule_row(context, each, titles) for each in report.rules]
    return table(heads, rows, caption=say("reward.page.rules"))


def _rule_row(context: Context, each: RuleFigures, titles: dict[str, str]) -> list[str]:
    means = ["–" if (mean := each.means.get(kind)) is None else f"{mean:.2f}" for kind in ("own", "wrong", "sampled")]
    fires = "–" if each.fires is None else f"{100 * each.fires:.0f} %"
    lacking = "; ".join(
        f"{context.say(f'reward.why.{why}', detail='…')} ({count:,})" for why, count in each.missing.items()
    )
    return [escape(titles.get(each.key, each.key)), f"{each.weight:g}", *means, fires, escape(lacking) or "–"]


def _agreement_html(context: Context, report: TrialReport) -> str:
    say, found = context.say, report.agreement
    if found is None:
        return f'<p class="lu-note">{escape(say("reward.page.no_marks"))}</p>'
    value = "–" if found.value is None else f"{found.value:.2f}"
    same = "–" if found.same is None else f"{100 * found.same:.0f}"
    return f"<p>{escape(say('reward.page.agreement', count=found.rows, same=same, value=value))}</p>"


def _answers_html(
    context: Context, which: str, shown: list[Shown], titles: dict[str, str], marks: list[dict[str, Any]]
) -> str:
    if not shown:
        return ""
    inner = "".join(_answer_html(context, each, titles, marks) for each in shown)
    return controls.fold(context.say(f"reward.page.{which}"), inner, key=f"reward-{which}", is_open=which == "best")


def _answer_html(context: Context, each: Shown, titles: dict[str, str], marks: list[dict[str, Any]]) -> str:
    """An answer with its reward, why each rule gave what it gave, and the person's own mark."""
    say = context.say
    where = {"kind": each.kind, "row": each.row, "place": each.place}
    said = next((mark["rating"] for mark in marks if {key: mark[key] for key in where} == where), "")
    buttons = controls.buttons(
        *(
            controls.button(
                rating,
                ("✓ " if said == rating else "") + say(f"reward.page.mark.{rating}"),
                which=each.kind,
                row=each.row,
                place=each.place,
            )
            for rating in RATINGS
        ),
        controls.button("row", say("data.row", row=each.row), kind="link", row=each.row),
    )
    values = "".join(_value_html(context, titles.get(key, key), score) for key, score in each.values.items())
    return (
        f'<div class="lu-line lu-reward-answer"><p><strong class="lu-num">{each.total:.2f}</strong> '
        f"{chip(say(f'reward.kind.{each.kind}'))}</p>"
        f'<p class="lu-note">{escape(view.short(each.question, SHOWN_CHARACTERS))}</p>'
        f"<p>{escape(view.short(each.answer, SHOWN_CHARACTERS)) or '–'}</p>"
        f'<ul class="lu-note">{values}</ul>{buttons}</div>'
    )


def _value_html(context: Context, title: str, score: Any) -> str:
    value = "–" if score.value is None else f"{score.value:.2f}"
    reason = words.why(context, score)
    return f'<li>{escape(title)}: <span class="lu-num">{value}</span> {escape(reason)}</li>'

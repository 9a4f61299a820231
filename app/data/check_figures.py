"""What each check's figures say: a verdict in two words, its tone, and the figures as sentences, bars or a table."""

from collections.abc import Callable
from html import escape
from types import MappingProxyType
from typing import Any

from app import dataset_view as view
from app.context import Context
from app.data import controls, difficulty, histogram
from app.markup import table
from studio.messages import has

SHOWN_CLASSES = 20

Verdict = tuple[str, str, str]
"""Words, tone (good, warn, info), HTML."""


def told(context: Context, check: str, figures: dict[str, Any], count: int) -> Verdict:
    """The verdict of one check; `count` is how many findings it has."""
    return _TELLERS[check](context, figures, count)


def needs_split(check: str, figures: dict[str, Any]) -> bool:
    """Whether the check compares sides, and there are none yet."""
    return (check == "leakage" and not figures["pairings"]) or (check == "coverage" and not figures["is_split"])


def _by_count(context: Context, check: str, count: int) -> Verdict:
    if not count:
        return context.say("data.checks.fine"), "good", ""
    return context.say("data.checks.named", count=count), "warn", ""


def _amount(context: Context, figures: dict[str, Any], count: int) -> Verdict:
    advice = [context.say(f"problems.checks.{each['code']}", **each["values"]) for each in figures["advice"]]
    shown = "".join(f"<p>{escape(line)}</p>" for line in advice)
    short = figures.get("categories_short", [])
    if short:
        bars = histogram.counts_html([(each["category"], each["rows"]) for each in short[:SHOWN_CLASSES]])
        shown += controls.fold(context.say("data.checks.amount.domains"), bars, key="domains")
    tone = {"too_few": "warn", "least": "warn"}.get(figures["level"], "good")
    return view.rows_text(context, figures["train_rows"]), tone, shown


def _balance(context: Context, figures: dict[str, Any], count: int) -> Verdict:
    say = context.say
    if figures["ratio"] is None:
        words = say("data.checks.balance.none")
        return say("data.checks.not_asked"), "info", f"<p>{escape(words)}</p>"
    bars = histogram.counts_html([(each["category"], each["rows"]) for each in figures["categories"][:SHOWN_CLASSES]])
    words = say("data.checks.balance.ratio", ratio=f"{figures['ratio']:.1f}", count=len(figures["categories"]))
    lines = [
        [escape(each["category"]), f"{each['rows']:,}", f"{each['target']:,}", f"{each['weight']:.2f}"]
        for each in figures["categories"][:SHOWN_CLASSES]
    ]
    heads = [say(f"data.checks.balance.column.{name}") for name in ("category", "rows", "target", "weight")]
    after = controls.fold(say("data.checks.balance.after"), table(heads, lines), key="balance-table")
    tone = "good" if figures["is_balanced"] else "warn"
    verdict = say("data.checks.fine" if figures["is_balanced"] else "data.checks.balance.uneven")
    return verdict, tone, f"<p>{escape(words)}</p>{bars}{after}"


def _lengths(context: Context, figures: dict[str, Any], count: int) -> Verdict:
    say = context.say
    unit = say(f"data.checks.lengths.{figures['source']}")
    words = say(
        "data.checks.lengths.sentence",
        unit=unit,
        median=f"{figures['p50']:,}",
        most=f"{figures['p95']:,}",
        longest=f"{figures['max']:,}",
    )
    shown = f"<p>{escape(words)}</p>"
    if not figures["limits"]:
        return say("data.checks.lengths.unit", unit=unit), "info", shown
    lines = [
        [
            f"{each['max_length']:,}",
            (say("data.clean.about") + " " if each.get("is_estimate") else "") + f"{each['cut_rows']:,}",
            f"{100 * each['cut_share']:.1f} %",
        ]
        for each in figures["limits"]
    ]
    heads = [say(f"data.checks.lengths.column.{name}") for name in ("limit", "rows", "share")]
    cut = figures["limits"][-1]["cut_rows"]
    tone = "warn" if cut else "good"
    verdict = say("data.checks.lengths.cut", count=cut) if cut else say("data.checks.fine")
    return verdict, tone, shown + table(heads, lines)


def _difficulty(context: Context, figures: dict[str, Any], count: int) -> Verdict:
    say = context.say
    shown = difficulty.told_html(context, figures.get("losses"))
    held = figures.get("histogram")
    if isinstance(held, dict):
        shown += histogram.counts_html(
            [(f"{edge:g}", amount) for edge, amount in zip(held["edges"], held["counts"], strict=False)]
        )
    elif isinstance(held, list):
        shown += histogram.counts_html([(f"{place / len(held):.1f}", amount) for place, amount in enumerate(held)])
    for side in ("easiest", "hardest"):
        rows = figures.get(side) or []
        links = " ".join(
            controls.button("row", say("data.row", row=row), kind="link", row=row) for row in map(_number, rows)
        )
        if links:
            shown += f"<p>{escape(say(f'data.checks.difficulty.{side}'))} {links}</p>"
    return say("data.checks.difficulty.mean", mean=f"{figures['mean']:.2f}"), "info", shown


def _quality(context: Context, figures: dict[str, Any], count: int) -> Verdict:
    verdict, tone, _ = _by_count(context, "quality", count)
    steps = [(f"{place / 10:.1f}–{(place + 1) / 10:.1f}", amount) for place, amount in enumerate(figures["histogram"])]
    words = escape(context.say("data.checks.quality.bars"))
    bars = controls.fold(context.say("data.checks.quality.fold"), histogram.counts_html(steps), key="quality-bars")
    return verdict, tone, f'<p class="lu-note">{words}</p>{bars}'


def _leakage(context: Context, figures: dict[str, Any], count: int) -> Verdict:
    say = context.say
    if needs_split("leakage", figures):
        return say("data.checks.not_asked"), "info", f"<p>{escape(say('data.checks.not_split'))}</p>"
    lines = ""
    for each in figures["pairings"]:
        sides = {
            name: say(f"data.checks.leakage.side.{each[key]}") for name, key in (("side", "side"), ("other", "against"))
        }
        leaks = sum(amount for kind, amount in each["found"].items() if kind != "suspicious")
        alike = each["found"].get("suspicious", 0)
        words_shown = say("data.checks.leakage.pairing", rows=each["rows"], leaks=leaks, suspicious=alike, **sides)
        lines += f"<p>{escape(words_shown)}</p>"
    verdict, tone, _ = _by_count(context, "leakage", count)
    return verdict, tone, lines


def _coverage(context: Context, figures: dict[str, Any], count: int) -> Verdict:
    say = context.say
    if needs_split("coverage", figures):
        return say("data.checks.not_asked"), "info", f"<p>{escape(say('data.checks.not_split'))}</p>"
    counts = {name: figures[name] for name in ("uncovered", "held_out", "trained")}
    shown = f"<p>{escape(say('data.checks.coverage.sentence', **counts))}</p>"
    columns = ("category", "trained", "held_out", "uncovered")
    lines = [
        [escape(each["category"] or say("data.rows.no_category")), *(f"{each[name]:,}" for name in columns[1:])]
        for each in figures["categories"][:SHOWN_CLASSES]
    ]
    if lines:
        shown += table([say(f"data.checks.coverage.column.{name}") for name in columns], lines)
    verdict, tone, _ = _by_count(context, "coverage", count)
    return verdict, tone, shown


def _disagreement(context: Context, figures: dict[str, Any], count: int) -> Verdict:
    verdict, tone, _ = _by_count(context, "disagreement", count)
    counts = {name: figures[name] for name in ("compared", "disagreeing")}
    return verdict, tone, f"<p>{escape(context.say('data.checks.disagreement.sentence', **counts))}</p>"


def _style(context: Context, figures: dict[str, Any], count: int) -> Verdict:
    say, lengths = context.say, figures["lengths"]
    lines = []
    if lengths:
        lines.append(say("data.checks.style.lengths", **{name: lengths[name] for name in ("median", "p5", "p95")}))
    usual = figures["usual"].items()
    traits = [say(f"data.checks.style.{name}", value=_trait(context, name, value)) for name, value in usual]
    joined = say("common.list_comma").join(traits)
    lines.append(say("data.checks.style.usual", traits=joined) if traits else say("data.checks.style.no_usual"))
    if figures["vague"]:
        lines.append(say("data.checks.style.vague", count=figures["vague"]))
    shown = "".join(f"<p>{escape(line)}</p>" for line in lines)
    counted = (("form", figures["forms"]), ("language", figures["languages"]))
    every = [(_trait(context, name, value), num) for name, found in counted for value, num in found.items()]
    bars = controls.fold(say("data.checks.style.forms"), histogram.counts_html(every), key="style-bars")
    verdict, tone, _ = _by_count(context, "style", count)
    return verdict, tone, shown + bars


_TRAITS = MappingProxyType(
    {
        "form": "problems.checks.style.forms",
        "closing": "problems.checks.style.closings",
        "language": "data.language",
    }
)
"""Where the words for a trait's values are."""


def _trait(context: Context, name: str, value: str) -> str:
    """What most answers have, in words: language `"zh"` -> `"Chinese"`; what has none as it is."""
    key = f"{_TRAITS.get(name)}.{value}"
    return context.say(key) if has(key) else value


def _number(row: Any) -> int:
    return int(row["row"] if isinstance(row, dict) else row)


_TELLERS: MappingProxyType[str, Callable[[Context, dict[str, Any], int], Verdict]] = MappingProxyType(
    {
        "amount": _amount,
        "balance": _balance,
        "lengths": _lengths,
        "style": _style,
        "quality": _quality,
        "disagreement": _disagreement,
        "coverage": _coverage,
        "leakage": _leakage,
        "difficulty": _difficulty,
    }
)

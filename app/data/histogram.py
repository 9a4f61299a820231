"""Bars of row lengths before and after, as HTML. A sentence and a table say the same.

bars_html(context, before, after)  ->  <figure>...</figure>
"""

from collections.abc import Sequence
from html import escape

from app.context import Context
from app.data import controls
from app.markup import table
from studio.workshop.reports import Histogram


def bars_html(
    context: Context, before: Histogram, after: Histogram, *, tokens_per_character: float | None = None
) -> str:
    """One pair of bars a length; lengths that no row has are left out at both ends."""
    places = [place for place, count in enumerate(before.counts) if count or after.counts[place]]
    if not places:
        return ""
    shown = range(places[0], places[-1] + 1)
    most = max(max(before.counts), max(after.counts))
    bars = "".join(_pair(context, before, after, place, most) for place in shown)
    sentence = _sentence(context, before, after)
    rows = [
        [escape(_range(context, before.edges, each)), f"{before.counts[each]:,}", f"{after.counts[each]:,}"]
        for each in shown
    ]
    heads = [context.say(f"data.bars.{name}") for name in ("length", "before", "after")]
    legend = "".join(
        f'<span><i class="lu-bar-{side}"></i>{escape(context.say(f"data.bars.{side}"))}</span>'
        for side in ("before", "after")
    )
    note = ""
    if tokens_per_character:
        note = f'<p class="lu-note">{escape(context.say("data.bars.tokens", ratio=f"{tokens_per_character:.2f}"))}</p>'
    return (
        f'<figure class="lu-bars"><figcaption>{escape(context.say("data.bars.title"))} {legend}</figcaption>'
        f'<div class="lu-bars-plot" role="img" aria-label="{escape(sentence)}">{bars}</div>{note}'
        f"{controls.fold(context.say('data.bars.table'), table(heads, rows), key='bars-table')}</figure>"
    )


def counts_html(labelled: Sequence[tuple[str, int]], *, tone: str = "after") -> str:
    """Plain bars of counts: `[("refund", 80), ...]`."""
    most = max((count for _, count in labelled), default=0) or 1
    lines = "".join(
        f'<div><span>{escape(label)}</span><i class="lu-bar-{tone}" style="width:{100 * count / most:.1f}%"></i>'
        f"<span>{count:,}</span></div>"
        for label, count in labelled
    )
    return f'<div class="lu-counts lu-num">{lines}</div>'


def _pair(context: Context, before: Histogram, after: Histogram, place: int, most: int) -> str:
    heights = [100 * each.counts[place] / most for each in (before, after)]
    title = f"{_range(context, before.edges, place)}: {before.counts[place]:,} → {after.counts[place]:,}"
    return (
        f'<div title="{escape(title)}"><span class="lu-bars-pair">'
        f'<i class="lu-bar-before" style="height:{heights[0]:.1f}%"></i>'
        f'<i class="lu-bar-after" style="height:{heights[1]:.1f}%"></i></span>'
        f'<span class="lu-bars-edge">{_short(before.edges[place])}</span></div>'
    )


def _range(context: Context, edges: Sequence[int], place: int) -> str:
    if place + 1 == len(edges):
        return context.say("data.bars.from", low=edges[place])
    return context.say("data.bars.range", low=edges[place], high=edges[place + 1] - 1)


def _short(edge: int) -> str:
    return f"{edge // 1024}k" if edge >= 1024 else str(edge)


def _sentence(context: Context, before: Histogram, after: Histogram) -> str:
    peak = max(range(len(after.counts)), key=lambda place: after.counts[place])
    length = _range(context, after.edges, peak)
    return context.say("data.bars.sentence", before=sum(before.counts), after=sum(after.counts), length=length)

"""The chart: the studio's one custom component. Its drawing is `static/chart.js`, its numbers `app.series`."""

import gradio as gr

from app.context import Context
from app.rewards.words import title
from app.theme import chart_head
from studio.graders.declared import GRADERS

_METRICS = ("loss", "eval_loss", "eval_loss_prompted", "learning_rate", "grad_norm", "kl", "kl_coef")
_METRICS += tuple(f"{side}rewards/{name}" for side in ("", "eval_") for name in ("margins", "accuracies"))
_METRICS += ("logps/chosen", "logps/rejected", "reward", "reward_std", "eval_reward", "entropy")
_METRICS += ("value_loss", "explained_variance", "completions/mean_length", "completions/clipped_ratio")
_METRICS += ("completions/alike", "frac_reward_zero_std", "clip_ratio/region_mean", "sft_loss")
"""Those of the panels in `static/chart.js`; a panel without values is not shown."""
_NOTED = tuple(
    name for name in _METRICS if not name.startswith("eval_") and name not in ("logps/rejected", "reward_std")
)
"""What has a panel of its own, and so a sentence on what it shows."""
_GROUPS = ("reward", "answers", "distance", "critic", "preference", "learning")
_WORDS = ("smoothing", "log", "zoom_out", "zoom_hint", "table", "step", "sentence", "sentence_plain", "nothing")


def run_chart(context: Context, *, elem_id: str) -> gr.HTML:
    """Loss and whatever else was logged of the runs that the page's address names (`?run=4` or `?runs=4,7`).

    It polls by itself and needs no event. Put it where it becomes visible only when the address names a run.
    """
    words: dict[str, object] = {name: context.say(f"common.chart.{name}") for name in _WORDS}
    words["metrics"] = {name: context.say(f"common.chart.metric.{name.replace('/', '_')}") for name in _METRICS}
    words["notes"] = {name: context.say(f"runs.charts.note.{name.replace('/', '_')}") for name in (*_NOTED, "rule")}
    words["groups"] = {name: context.say(f"runs.charts.group.{name}") for name in _GROUPS}
    words["rules"] = {name: title(context, name) for name in GRADERS}
    return gr.HTML(
        html_template='<div class="lu-chart"></div>',
        js_on_load="luthierChart(element, props.words)",
        head=chart_head(),
        words=words,
        elem_id=elem_id,
    )

"""The chart: the studio's one custom component. Its drawing is `static/chart.js`, its numbers `app.series`."""

import gradio as gr

from app.context import Context
from app.theme import chart_head

_METRICS = ("loss", "eval_loss", "eval_loss_prompted", "learning_rate", "grad_norm", "kl")
_METRICS += tuple(f"{side}rewards/{name}" for side in ("", "eval_") for name in ("margins", "accuracies"))
_METRICS += ("logps/chosen", "logps/rejected", "reward", "eval_reward", "entropy", "value_loss", "explained_variance")
_METRICS += ("completions/mean_length", "completions/clipped_ratio", "frac_reward_zero_std", "clip_ratio/region_mean")
"""Those of the panels in `static/chart.js`; a panel without values is not shown."""
_WORDS = ("smoothing", "log", "zoom_out", "zoom_hint", "table", "step", "sentence", "sentence_plain", "nothing")


def run_chart(context: Context, *, elem_id: str) -> gr.HTML:
    """Loss and whatever else was logged of the runs that the page's address names (`?run=4` or `?runs=4,7`).

    It polls by itself and needs no event. Put it where it becomes visible only when the address names a run.
    """
    words: dict[str, object] = {name: context.say(f"common.chart.{name}") for name in _WORDS}
    words["metrics"] = {name: context.say(f"common.chart.metric.{name.replace('/', '_')}") for name in _METRICS}
    return gr.HTML(
        html_template='<div class="lu-chart"></div>',
        js_on_load="luthierChart(element, props.words)",
        head=chart_head(),
        words=words,
        elem_id=elem_id,
    )

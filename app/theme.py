"""How every page looks: Gradio's theme with our tokens, and what goes into the page's head. No font is fetched."""

import hashlib
from pathlib import Path

import gradio as gr

from app.api import STATIC, static_files

_FONTS = ("Noto Sans SC", "PingFang SC", "Microsoft YaHei", "sans-serif")
_MONO = ("ui-monospace", "SFMono-Regular", "Consolas", "monospace")
LIGHT = {"page": "#FAF8F4", "card": "#FFFFFF", "line": "#E7E1D8", "ink": "#22252A", "soft": "#6B6F76"}
DARK = {"page": "#16171A", "card": "#1E2024", "line": "#33363C", "ink": "#ECEAE6", "soft": "#9EA3AB"}


def theme() -> gr.themes.Base:
    """Warm paper, dark ink, one amber accent."""
    accent = gr.themes.Color(
        *("#FDF6EF", "#FAE8D5", "#F3CFA9", "#EBB37B", "#E0904A", "#C9742A", "#B25E1A", "#914A13", "#713A11", "#562D0E"),
        "#2F1807",
        name="varnish",
    )
    base = gr.themes.Base(
        primary_hue=accent,
        secondary_hue=accent,
        neutral_hue=gr.themes.colors.stone,
        radius_size=gr.themes.sizes.radius_md,
        font=list(_FONTS),
        font_mono=list(_MONO),
    )
    return base.set(**_surfaces())


def _surfaces() -> dict[str, str]:
    values = {
        "body_background_fill": "page",
        "background_fill_primary": "card",
        "background_fill_secondary": "page",
        "block_background_fill": "card",
        "block_border_color": "line",
        "border_color_primary": "line",
        "body_text_color": "ink",
        "body_text_color_subdued": "soft",
        "block_label_text_color": "soft",
        "block_title_text_color": "ink",
        "block_info_text_color": "soft",
        "input_background_fill": "card",
        "input_border_color": "line",
        "button_secondary_background_fill": "card",
        "button_secondary_background_fill_hover": "page",
        "button_secondary_border_color": "line",
        "button_secondary_border_color_hover": "soft",
        "button_secondary_text_color": "ink",
        "checkbox_label_background_fill": "page",
        "checkbox_label_background_fill_hover": "page",
        "checkbox_label_background_fill_selected": "page",
        "checkbox_label_border_color": "line",
        "checkbox_border_color": "soft",
    }
    tokens = {name: LIGHT[token] for name, token in values.items()}
    tokens |= {f"{name}_dark": DARK[token] for name, token in values.items()}
    tokens |= {
        "button_primary_background_fill": "#B25E1A",
        "button_primary_background_fill_hover": "#914A13",
        "button_primary_text_color": "#FFFFFF",
        "button_primary_background_fill_dark": "#E0904A",
        "button_primary_background_fill_hover_dark": "#EBB37B",
        "button_primary_text_color_dark": "#16171A",
        "link_text_color": "#914A13",
        "link_text_color_hover": "#713A11",
        "link_text_color_visited": "#914A13",
        "link_text_color_dark": "#E0904A",
        "link_text_color_hover_dark": "#EBB37B",
        "link_text_color_visited_dark": "#E0904A",
        "block_border_width": "1px",
        "input_border_width": "1px",
        "button_border_width": "1px",
        "checkbox_label_border_width": "1px",
        "button_primary_border_color": "transparent",
        "button_primary_border_color_dark": "transparent",
        "block_shadow": "none",
        "body_text_size": "15px",
    }
    return tokens


def head() -> str:
    """Style sheet and script that every page needs; files, because inline scripts do not run (`app.page_policy`)."""
    return (
        f'<link rel="stylesheet" href="{static_url("studio.css")}">'
        f'<link rel="icon" type="image/svg+xml" href="{static_url("icon.svg")}">'
        f'<script src="{static_url("page.js")}"></script>'
    )


def chart_head() -> str:
    """What a page with a chart needs besides; Gradio loads it before the chart's own code runs."""
    return (
        f'<link rel="stylesheet" href="{static_url("uPlot.min.css")}">'
        f'<script src="{static_url("uPlot.iife.js")}"></script>'
        f'<script src="{static_url("chart.js")}"></script>'
    )


def static_url(name: str) -> str:
    """Address of a static file with its content's mark, so that a browser may keep it for good."""
    path: Path = static_files()[name]
    return f"/static/{name}?v={hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"


__all__ = ["DARK", "LIGHT", "STATIC", "chart_head", "head", "static_url", "theme"]

"""Settings: what this machine can do, where the workspace lies and what it holds, and the language."""

import shutil
from html import escape

import gradio as gr

from app.context import Context
from app.data.panel import panel
from app.i18n import bytes_text, page_path, path_text
from app.login import logout_form
from app.markup import facts, heading, link
from app.pages.shell import bind, machine_line, redraw_on_change
from app.settings import access
from studio.messages import LANGUAGES


def build(context: Context) -> None:
    say = context.say
    gr.HTML(heading(say("settings.title")))
    body_html = gr.HTML(elem_id="settings-body")
    gr.HTML(f'<h2 class="lu-part">{escape(say("settings.part.kept"))}</h2>', padding=False)
    kept_html = panel("settings-kept")
    with gr.Row(elem_classes="lu-actions"):
        doctor_button = gr.Button(say("settings.doctor"), elem_id="settings-doctor", scale=0)
    doctor_html = gr.HTML(elem_id="settings-doctor-result")
    if context.has_login:
        gr.HTML(logout_form(say("login.leave")), elem_id="settings-logout")
    redraw_on_change(context, draw, outputs=[body_html])
    gr.on(None, bind(access.draw, context), None, [kept_html], show_progress="hidden")
    kept_html.select(bind(access.press, context), None, [kept_html], show_progress="hidden")
    doctor_button.click(bind(examine, context), None, [doctor_html])


def draw(context: Context, query: dict[str, str]) -> str:
    """Machine, workspace, language."""
    say, root = context.say, context.desk.workspace.root
    disk = shutil.disk_usage(root)
    parts = {
        "machine": facts([(say("settings.device"), escape(machine_line(context)))]),
        "workspace": facts(
            [
                (say("settings.folder"), f"<code>{escape(path_text(root))}</code>"),
                (
                    say("settings.free"),
                    say("settings.free_of", free=bytes_text(disk.free), total=bytes_text(disk.total)),
                ),
            ]
        ),
        "language": " · ".join(
            link(page_path(each, "settings"), say(f"settings.language.{each}")) for each in LANGUAGES
        ),
    }
    return "".join(
        f'<h2 class="lu-part">{escape(say(f"settings.part.{name}"))}</h2>{body}' for name, body in parts.items()
    )


def examine(context: Context) -> str:
    """What works on this machine, what does not, what to do."""
    from studio.hardware import doctor

    found = doctor(context.desk.workspace.root)
    lines = [(fact, context.say(f"doctor.{fact.code}", **fact.values)) for fact in found]
    items = "".join(
        f'<li class="{"" if fact.is_good else "lu-warn"}">{"✓" if fact.is_good else "!"} {escape(line)}</li>'
        for fact, line in lines
    )
    return f'<ul class="lu-checks">{items}</ul>'

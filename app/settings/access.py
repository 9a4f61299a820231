"""Two settings that the studio keeps: the hub's token and the largest upload.

The token goes from the field into the file `secrets` of the workspace; a page never gets it back.
"""

from html import escape

import gradio as gr

from app.context import Context
from app.data import controls
from app.data.panel import Told, answered, told
from app.markup import chip, notice
from app.uploads import upload_limit
from studio import tokens
from studio.errors import StudioError

_GIGABYTE = 10**9


def draw(context: Context, words: str = "", *, tone: str = "good") -> str:
    """Both forms, under what came of the last press."""
    forms = notice(words, tone) + _tokens(context) + _limit(context)
    return answered(f'<div class="lu-narrow">{forms}</div>')


def press(context: Context, event: gr.EventData) -> str:
    """Save or forget a token, or set the limit; a refusal is shown in the forms' place, not with what was typed."""
    done = told(event)
    try:
        return draw(context, _done(context, done))
    except StudioError as error:
        return draw(context, error.message(context.language), tone="bad")


def _done(context: Context, done: Told) -> str:
    desk, say = context.desk, context.say
    name = done.data.get("name", "")
    if done.do == "keep":
        desk.keep_token(name, done.text("token"))
        return say("settings.token.kept")
    if done.do == "forget":
        desk.forget_token(name)
        return say("settings.token.forgotten")
    if done.do == "limit":
        desk.limit_uploads(_bytes(done.text("limit")))
        return say("settings.upload.kept")
    return ""


def _tokens(context: Context) -> str:
    known = tokens.known(context.desk.workspace)
    return "".join(_token(context, name, is_known=name in known) for name in tokens.NAMES)


def _token(context: Context, name: str, *, is_known: bool) -> str:
    say = context.say
    label = say(f"settings.token.{name}")
    field = (
        f'<input type="password" name="token" value="" autocomplete="new-password" spellcheck="false"'
        f' aria-label="{escape(label)}">'
    )
    state = chip(say("settings.token.is_kept" if is_known else "settings.token.none"), "good" if is_known else "soft")
    return controls.form(
        controls.labelled(label, field, f"{say(f'settings.token.{name}_note')} {say('settings.token.where')}"),
        controls.buttons(
            controls.button("keep", say("settings.save"), name=name),
            controls.button("forget", say("settings.token.forget"), kind="link", name=name) if is_known else "",
            state,
        ),
    )


def _limit(context: Context) -> str:
    say = context.say
    shown = upload_limit(context.registry) / _GIGABYTE
    field = controls.number("limit", say("settings.upload.limit"), shown, note=say("settings.upload.note"), least=0.001)
    return controls.form(field, controls.buttons(controls.button("limit", say("settings.save"))))


def _bytes(typed: str) -> int:
    try:
        return int(float(typed) * _GIGABYTE)
    except (ValueError, OverflowError):
        return 0

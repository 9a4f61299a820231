"""Chat templates are rendered in a child process that can be killed: they come from the net, and are programs.

    templates = Templates(tokenizer)
    templates.apply([{"role": "user", "content": "Hi"}], add_generation_prompt=True)   ->  {"input_ids": [1, 4093, ...]}

transformers renders them in jinja's sandbox, which keeps them from attributes and calls but lets them loop for ever and
fill the memory. The child is a fork of the job with limits on processor time, memory and what comes back; once it is
set up it can open no file, socket or program any more. It ends with the job, however the job ends. Where there is no
fork (Windows) templates are rendered in the job itself.
"""

import contextlib
import json
import os
from collections.abc import Callable
from typing import Any

import jinja2

from studio.errors import JobFailed
from trainers import confined
from trainers.rows.thinking import is_covered, put_back

MAX_CHARACTERS = 1_000_000
"""Of a template; the longest known to the author has 20,000."""
CPU_SECONDS = 10
"""For one conversation, its tokens included."""
WALL_SECONDS = 60.0
EXTRA_BYTES = 1 << 30
"""What the child may take beyond the job's own address space."""
_FAULTS = (jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError)
"""What a template may raise over a conversation that it does not take."""

Perform = Callable[[Any, dict[str, Any]], dict[str, Any]]


class Templates:
    """One tokenizer's chat template; not to be shared between threads."""

    def __init__(self, tokenizer: Any) -> None:
        """
        Raises:
            JobFailed: template.too_long.
        """
        self._tokenizer = tokenizer
        self._child: _Child | None = None
        templates = tokenizer.chat_template
        length = sum(map(len, templates.values())) if isinstance(templates, dict) else len(templates or "")
        if length > MAX_CHARACTERS:
            raise JobFailed("template.too_long", characters=length, most=MAX_CHARACTERS)

    def apply(self, messages: list[dict[str, Any]], **options: Any) -> dict[str, list[int]]:
        """`input_ids`, and with `return_assistant_tokens_mask` also `assistant_masks`, as `apply_chat_template` does.

        Raises:
            jinja2.TemplateError: the template does not take this conversation.
            JobFailed: template.unbounded: it took too long, or too much memory.
        """
        return self._ask({"messages": messages, "options": options}, _apply)

    def beginnings(
        self, messages: list[dict[str, Any]], wanted: list[tuple[int, bool]], *, tools: list[Any] | None
    ) -> dict[tuple[int, bool], list[int] | jinja2.TemplateError]:
        """Tokens of the first so many turns, without or with what asks for the next answer; one trip for all of them.

        Args:
            wanted: (number of turns, whether the next answer is asked for).

        Raises:
            JobFailed: template.unbounded.
        """
        made = self._ask({"messages": messages, "wanted": wanted, "tools": tools}, _beginnings)["made"]
        return {
            which: jinja2.TemplateError(each) if isinstance(each, str) else each
            for which, each in zip(wanted, made, strict=True)
        }

    def for_training(self) -> str | None:
        """A template with generation marks: the tokenizer's own, or trl's for this family; None where there is none.

        Raises:
            JobFailed: template.unbounded: trl renders the tokenizer's own to find out.
        """
        # Takes seconds, and the child can load nothing: it is made anew, as a fork of a job that knows trl.
        import trl.chat_template_utils  # noqa: F401

        self.close()
        return self._ask({}, _for_training)["template"]

    def close(self) -> None:
        if self._child is not None:
            self._child.end()
            self._child = None

    def __del__(self) -> None:
        with contextlib.suppress(
            AssertionError, ValueError, TypeError
        ):  # a fork, whose child it is not; or the very end
            self.close()

    def _ask(self, request: dict[str, Any], perform: Perform) -> dict[str, Any]:
        if not hasattr(os, "fork"):
            return perform(self._tokenizer, request)
        if self._child is None:
            self._child = _Child(self._tokenizer)
        try:
            answer = self._child.ask({**request, "do": perform.__name__})
        except confined.Ended:
            self.close()
            raise JobFailed("template.unbounded", seconds=CPU_SECONDS, gib=EXTRA_BYTES >> 30) from None
        if "fault" in answer:
            raise jinja2.TemplateError(answer["fault"])
        return answer


class _Child:
    """The process and the pipe to it."""

    def __init__(self, tokenizer: Any) -> None:
        self._pipe, self._process = confined.start(_serve, tokenizer)

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """
        Raises:
            confined.Ended: no answer within the limits.
        """
        try:
            self._pipe.send_bytes(json.dumps(request).encode())
        except OSError as error:
            raise confined.Ended from error
        return confined.received(self._pipe, WALL_SECONDS)

    def end(self) -> None:
        confined.end(self._pipe, self._process)


# -- in the child ----------------------------------------------------------------------------------------------------


def _serve(pipe: Any, tokenizer: Any) -> None:
    _load_all(tokenizer)
    confined.limit_memory(EXTRA_BYTES)
    confined.set_limits({"RLIMIT_FSIZE": 0, "RLIMIT_NOFILE": 0})
    known = {each.__name__: each for each in (_apply, _beginnings, _for_training)}
    with contextlib.suppress(EOFError, OSError):
        while True:
            request = json.loads(pipe.recv_bytes())
            confined.give_seconds(CPU_SECONDS)
            try:
                answer = known[request.pop("do")](tokenizer, request)
            except _FAULTS as error:
                answer = {"fault": _sentence(error)}
            pipe.send_bytes(json.dumps(answer).encode())


def _apply(tokenizer: Any, request: dict[str, Any]) -> dict[str, Any]:
    messages, options = request["messages"], request["options"]
    if not is_covered(messages):
        return dict(tokenizer.apply_chat_template(messages, return_dict=True, **options))
    text = put_back(tokenizer.apply_chat_template(messages, tokenize=False, **options))
    return {"input_ids": tokenizer(text, add_special_tokens=False)["input_ids"]}


def _beginnings(tokenizer: Any, request: dict[str, Any]) -> dict[str, Any]:
    messages, tools, made = request["messages"], request["tools"], []
    for count, asks in request["wanted"]:
        options = {"tools": tools, "add_generation_prompt": asks}
        try:
            made.append(_apply(tokenizer, {"messages": messages[:count], "options": options})["input_ids"])
        except _FAULTS as error:
            made.append(_sentence(error))
    return {"made": made}


def _sentence(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500]


def _for_training(tokenizer: Any, request: dict[str, Any]) -> dict[str, Any]:
    from trl.chat_template_utils import get_training_chat_template, has_generation_markers

    if has_generation_markers(tokenizer.chat_template):
        return {"template": tokenizer.chat_template}
    try:
        return {"template": get_training_chat_template(tokenizer)}
    except ValueError:
        return {"template": None}


def _load_all(tokenizer: Any) -> None:
    """Whatever libraries read when they are first used, they read now."""
    whole = "{{ strftime_now('%Y') }}{% generation %}{{ messages | tojson }}{% endgeneration %}"
    faulty = ("{{ raise_exception('x') }}", "{{ messages.a.b }}", "{{ messages.__class__.a }}", "{% for")
    for template in (whole, *faulty):
        options = {"chat_template": template, "return_assistant_tokens_mask": template == whole}
        with contextlib.suppress(Exception):  # a tokenizer that cannot do this says so again when it is asked
            _apply(tokenizer, {"messages": [{"role": "user", "content": "x"}], "options": options})

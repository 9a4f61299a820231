"""Chat templates that loop, fill the memory or try to get out: the job goes on, nothing outside is touched."""

import copy
import os
import time
from pathlib import Path
from typing import Any

import jinja2
import psutil
import pytest

from studio.errors import JobFailed
from trainers.rows import templates
from trainers.rows.data import Findings, Renderer, Sample, render_rows
from trainers.rows.templates import Templates

CHAT = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]
LOOPS = "{% for a in range(99999) %}" * 3 + "{% endfor %}" * 3
ENDLESS = {
    "loops": LOOPS,
    "recursion": "{% macro f(n) %}{{ f(n) }}{{ f(n) }}{% endmacro %}{{ f(1) }}",
    "power": "{{ 9 ** (9 ** 9) }}",
}
HUGE = {
    "string": "{{ 'a' * 20000000000 }}",
    "list": "{{ [0] * 20000000000 }}",
    "doubling": "{% set n = namespace(s='a') %}{% for i in range(60) %}{% set n.s = n.s ~ n.s %}{% endfor %}{{ n.s }}",
    "padding": "{{ 'a'.ljust(20000000000) }}",
    "format": "{{ '%020000000000d' % 1 }}",
}
ESCAPES = (
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ messages.__class__.__base__.__subclasses__() }}",
    "{{ cycler.__init__.__globals__.os.system('touch MARK') }}",
    "{{ lipsum.__globals__['os'].popen('touch MARK').read() }}",
    "{{ self._TemplateReference__context }}{{ self.__init__.__globals__ }}",
    "{{ raise_exception.__globals__ }}",
    "{{ strftime_now.__globals__['datetime'] }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ (messages | attr('__class__')) }}",
    "{{ '{0.__class__.__mro__}'.format(messages) }}",
    "{{ ('{0.__class__.__mro__}' | format(messages)) }}",
    "{% set f = '{0.__class__}'.format %}{{ f(messages) }}",
    "{{ messages.append({}) }}",
    "{{ dict.__call__.__globals__ }}",
    "{% include '/etc/passwd' %}",
    "{% import '/etc/passwd' as x %}",
    "{% extends '/etc/passwd' %}",
    "{{ get_flashed_messages.__globals__ }}",
    "{{ request.application.__globals__ }}",
)


@pytest.fixture(scope="module")
def tokenizer(starter: Path) -> Any:
    from trainers.models.loading import load_tokenizer

    return load_tokenizer(starter)


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "CPU_SECONDS", 1)


def with_template(known: Any, text: str) -> Templates:
    other = copy.deepcopy(known)
    other.chat_template = text
    return Templates(other)


def children() -> set[int]:
    return {each.pid for each in psutil.Process().children(recursive=True) if each.status() != psutil.STATUS_ZOMBIE}


@pytest.mark.parametrize("kind", [*ENDLESS, *HUGE])
def test_a_template_without_end_is_stopped_and_told(limits, tokenizer, kind):
    before, began, taken = children(), time.monotonic(), psutil.Process().memory_info().rss
    made = with_template(tokenizer, (ENDLESS | HUGE)[kind])
    with pytest.raises((JobFailed, jinja2.TemplateError)) as caught:
        made.apply(CHAT)
    assert time.monotonic() - began < 15
    if isinstance(caught.value, JobFailed):
        assert caught.value.reason == "template.unbounded" and "{" not in caught.value.message("zh")
    assert psutil.Process().memory_info().rss - taken < 200e6
    made.close()
    assert children() <= before


@pytest.mark.parametrize("text", ESCAPES)
def test_a_template_gets_no_attribute_that_leads_out(limits, tokenizer, tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    made = with_template(tokenizer, text)
    try:
        said = tokenizer.decode(made.apply(CHAT)["input_ids"])
    except jinja2.TemplateError as refused:
        said = str(refused)
    made.close()
    assert "<class" not in said and "root:" not in said and "<module" not in said
    assert list(tmp_path.iterdir()) == []


def test_whoever_breaks_out_of_the_sandbox_opens_nothing(limits, tokenizer, tmp_path, trap, monkeypatch):
    """The sandbox itself is taken for broken: what runs in the child still reaches no file, socket or program."""
    mark = tmp_path / "mark"

    def broken_out(known: Any, request: dict[str, Any]) -> dict[str, Any]:
        import socket
        import subprocess

        tried: dict[str, Any] = {}
        if request["messages"] != CHAT:  # while it is set up
            return tried
        for name, attempt in {
            "write": lambda: mark.write_text("x"),
            "read": lambda: Path("/etc/passwd").read_text(),
            "program": lambda: subprocess.run(["touch", str(mark)], check=True),
            "shell": lambda: os.system(f"touch {mark}") or 1 / 0,
            "call": lambda: socket.create_connection(("127.0.0.1", int(trap.url.rpartition(":")[2])), timeout=2),
        }.items():
            try:
                attempt()
            except Exception:
                continue
            tried[name] = [1]
        return tried

    broken_out.__name__ = "_apply"
    monkeypatch.setattr(templates, "_apply", broken_out)
    made = Templates(tokenizer)
    assert set(made.apply(CHAT)) <= {"shell"}  # a shell that cannot start gives an exit code and no mark
    made.close()
    assert not mark.exists() and trap.calls == []


def test_the_job_goes_on_with_the_next_row(limits, tokenizer):
    other = copy.deepcopy(tokenizer)
    other.chat_template = "{{ raise_exception('no') if messages[0].content == 'bad' else messages[0].content }}" + (
        "{% for m in messages[1:] %}{{ m.content }}{{ eos_token }}{% endfor %}"
    )
    rows = [(1, Sample([{"role": "user", "content": "bad"}, CHAT[1]])), (2, Sample(CHAT))]
    findings = Findings()
    assert [each.row for each in render_rows(rows, Renderer(other), max_length=None, findings=findings)] == [2]
    assert findings.rows == {"rows_refused_by_template": [1]}


def test_a_template_longer_than_any_is_refused(tokenizer):
    with pytest.raises(JobFailed) as caught:
        with_template(tokenizer, "a" * (templates.MAX_CHARACTERS + 1))
    assert caught.value.reason == "template.too_long"


def test_nothing_is_left_when_the_job_is_killed(limits, tokenizer):
    """A job killed in the middle of an endless template: the child ends as well."""
    made = with_template(tokenizer, LOOPS)
    pid = os.fork()
    if pid == 0:
        try:
            made.apply(CHAT)
        finally:
            os._exit(0)
    job = psutil.Process(pid)
    deadline = time.monotonic() + 10
    while not job.children() and time.monotonic() < deadline:
        time.sleep(0.01)
    grandchildren = job.children()
    assert grandchildren
    job.kill()
    os.waitpid(pid, 0)
    assert psutil.wait_procs(grandchildren, timeout=5)[1] == []

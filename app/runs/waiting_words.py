"""What a job waits for, in a sentence."""

from app.i18n import when_text
from studio.jobs.queueing import Wait
from studio.messages import say


def wait_words(wait: Wait, language: str) -> str:
    """`Wait("device", {"device": "cuda:0", "run": 3})` -> "Run 3 has to end first." """
    values = dict(wait.values)
    if "runs" in values:
        values["runs"] = say("common.list_comma", language).join(str(run) for run in values["runs"])
    if "time" in values:
        values["time"] = when_text(values["time"], language)
    return say(f"queue.wait.{wait.code}", language, **values)

"""The desk's verbs about asking models: the same prompts side by side, a chat with one, a person's judgement.

Answers are written by a serve job and grow in the registry; nothing here waits for one.
"""

from typing import Any

from studio.db import checkpoints, comparisons, jobs, models
from studio.db.engine import Writer
from studio.db.tables import Answer
from studio.errors import Conflict, RefusedInput, UnknownName

MAX_COLUMNS = 8
MAX_PROMPTS = 200
SETTINGS = {"seed": 42, "temperature": 0.0, "top_p": 1.0, "max_new_tokens": 128, "system": ""}
"""How answers are made unless a person says otherwise: greedy, so that only the models differ."""


class AskingDesk:
    """What `Desk` can do to have models answer."""

    _writer: Writer

    def compare(self, columns: list[dict[str, Any]], prompts: list[str], settings: dict[str, Any] | None = None) -> int:
        """Ask several models the same prompts with the same settings; returns the comparison.

        Args:
            columns: {"model": name} for an untouched model, {"checkpoint": id} for a trained one.
            prompts: one question a row.
            settings: any of `SETTINGS`.
        """
        asked = [prompt for prompt in prompts if prompt.strip()]
        if not asked:
            raise RefusedInput("comparison.no_prompts")
        if not 1 <= len(columns) <= MAX_COLUMNS:
            raise RefusedInput("comparison.columns", most=MAX_COLUMNS)
        if len(asked) > MAX_PROMPTS:
            raise RefusedInput("comparison.too_many_prompts", most=MAX_PROMPTS)
        chosen = _settings(settings)
        with self._writer.begin() as session:
            named = [_column(session, column) for column in columns]
            made = comparisons.add_comparison(session, kind="compare", columns=named, settings=chosen)
            for row, prompt in enumerate(asked):
                for place in range(len(named)):
                    comparisons.ask(session, made, column=place, prompt=row, messages=_messages(chosen, [], prompt))
        return made

    def chat(
        self,
        text: str,
        *,
        column: dict[str, Any] | None = None,
        comparison: int | None = None,
        settings: dict[str, Any] | None = None,
    ) -> int:
        """Say something to one model: opens a chat with `column`, or goes on with `comparison`; returns its number."""
        if not text.strip():
            raise RefusedInput("comparison.no_prompts")
        with self._writer.begin() as session:
            if comparison is None:
                named = [_column(session, column or {})]
                comparison = comparisons.add_comparison(
                    session, kind="chat", columns=named, settings=_settings(settings)
                )
            so_far = comparisons.comparison(session, comparison)
            if so_far.is_open:
                raise Conflict("comparison.still_answering")
            turns: list[dict[str, str]] = []
            for answer in so_far.answers:
                turns += [answer.messages[-1], {"role": "assistant", "content": answer.text}]
            messages = _messages(so_far.settings, turns, text)
            comparisons.ask(session, comparison, column=0, prompt=len(so_far.answers), messages=messages)
        return comparison

    def vote(self, answer_id: int, vote: str | None) -> None:
        """Keep a person's judgement of an answer: `up`, `down`, or None to take it back."""
        if vote not in ("up", "down", None):
            raise RefusedInput("comparison.vote", vote=vote)
        with self._writer.begin() as session:
            answer = session.get(Answer, answer_id)
            if answer is None:
                raise UnknownName("comparison.unknown_answer", answer=answer_id)
            answer.vote = vote
            jobs.next_change(session)


def _settings(chosen: dict[str, Any] | None) -> dict[str, Any]:
    """The generation settings, complete and within bounds."""
    unknown = set(chosen or {}) - set(SETTINGS)
    if unknown:
        raise RefusedInput("comparison.unknown_setting", name=", ".join(sorted(unknown)), known=", ".join(SETTINGS))
    settings = SETTINGS | {key: value for key, value in (chosen or {}).items() if value is not None}
    bounds = {"temperature": (0, 2), "top_p": (0.01, 1), "max_new_tokens": (1, 4096), "seed": (0, 2**31 - 1)}
    for name, (low, high) in bounds.items():
        value = settings[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise RefusedInput("comparison.setting", name=name, value=value, low=low, high=high)
    return settings | {name: int(settings[name]) for name in ("max_new_tokens", "seed")}


def _column(session: Any, column: dict[str, Any]) -> dict[str, Any]:
    """A column with its names settled, so that it reads the same after the run is renamed or gone."""
    if column.get("checkpoint") is not None:
        chosen = checkpoints.checkpoint(session, int(column["checkpoint"]))
        title = f"{chosen.run} · {chosen.step}"
        return {"model": chosen.model, "checkpoint": chosen.id, "title": title}
    base = models.model(session, str(column.get("model", "")))
    return {"model": base.name, "checkpoint": None, "title": base.name}


def _messages(settings: dict[str, Any], turns: list[dict[str, str]], text: str) -> list[dict[str, str]]:
    system = [{"role": "system", "content": settings["system"]}] if settings.get("system") else []
    return [*system, *turns, {"role": "user", "content": text}]

"""The ways of training, and what follows from each for the data that it learns from.

    METHODS["pretrain"]  ->  Method(name="pretrain", formats=("text", "tokens", ...), joins_rows=True)

How each trains is `trainers.<name>`, what it is set with `<name>.yaml` here, what it needs `studio.memory.methods`'.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from studio.workshop.versions.layout import MESSAGES, PREFERENCE, PROMPT, PROMPT_COMPLETION, TEXT, TOKENS, UNPAIRED

ASKED = (MESSAGES, PROMPT_COMPLETION, PREFERENCE, UNPAIRED, PROMPT)
"""Formats that hold a question."""


@dataclass(frozen=True, kw_only=True)
class Method:
    name: str
    formats: tuple[str, ...]
    """Formats of rows that it can learn from (`studio.workshop.versions.layout.FORMATS`)."""
    prefers: bool = False
    """It learns which answers are better; rates are far below those of learning from examples."""
    answers_itself: bool = False
    """The model writes the answers that it learns from; rows give the questions, and what graders must know."""
    joins_rows: bool = False
    """Rows are joined into one stream of tokens and cut into pieces of `max_length`."""


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        each.name: each
        for each in (
            Method(name="sft", formats=(MESSAGES, PROMPT_COMPLETION, TEXT, TOKENS)),
            Method(name="pretrain", formats=(TEXT, TOKENS, MESSAGES, PROMPT_COMPLETION), joins_rows=True),
            Method(name="reward", formats=(PREFERENCE,)),
            Method(name="dpo", formats=(PREFERENCE,), prefers=True),
            Method(name="orpo", formats=(PREFERENCE,), prefers=True),
            Method(name="cpo", formats=(PREFERENCE,), prefers=True),
            Method(name="kto", formats=(UNPAIRED,), prefers=True),
            Method(name="grpo", formats=ASKED, prefers=True, answers_itself=True),
            Method(name="rloo", formats=ASKED, prefers=True, answers_itself=True),
            Method(name="ppo", formats=ASKED, prefers=True, answers_itself=True),
            Method(name="classify", formats=(MESSAGES, PROMPT_COMPLETION, TEXT)),
        )
    }
)


def method_of(values: Mapping[str, Any]) -> Method:
    """The method of a spec's values; learning from examples where they name none."""
    return METHODS[values.get("method", "sft")]

"""Source rows that need not be stored a second time, because what training gets tells them.

    chat       {"messages": [user: Hi, assistant: Hello]}, extra {"id": 7}  ->  {"messages": [...], "id": 7}
    sharegpt   the same, with the speakers human, gpt and system in `from`

Only rows that held nothing else are stored so (`lines.py`). What is told here means the same as the source row, though
its spaces, escapes and the order of its keys may differ.
"""

from typing import Any

from studio.workshop.layout import json_text
from studio.workshop.manifest import Manifest

CHAT, SHAREGPT, PROMPT_COMPLETION = "chat", "sharegpt", "prompt_completion"
SHAREGPT_SPEAKERS = {"human": "user", "gpt": "assistant", "system": "system"}
"""The one spelling of each speaker that is taken to be plain in ShareGPT rows."""
_SPEAKER_OF_ROLE = {role: speaker for speaker, role in SHAREGPT_SPEAKERS.items()}


def source_text(fields: dict[str, Any], manifest: Manifest) -> str:
    """The source row as JSON text, from the fields of a `Row` whose `raw` was not stored."""
    value: dict[str, Any] = {}
    for column, part in manifest.columns.items():
        if part == "category":
            value |= {column: fields["category"]} if "category" in fields else {}
        elif part in ("messages", "conversations"):
            value[column] = _turns(fields["messages"], manifest.shape)
        elif part in fields:
            value[column] = fields[part]
    return json_text(value | fields.get("extra", {})) or "{}"


def _turns(messages: list[dict[str, Any]], shape: str) -> list[dict[str, Any]]:
    if shape == SHAREGPT:
        return [{"from": _SPEAKER_OF_ROLE[turn["role"]], "value": turn["content"]} for turn in messages]
    return messages

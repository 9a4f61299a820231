"""Source rows that need not be stored a second time, because what training gets tells them.

    chat       {"messages": [user: Hi, assistant: Hello]}, extra {"id": 7}  ->  {"messages": [...], "id": 7}
    sharegpt   the same, with the speakers human, gpt and system in `from`
    dialogue   the same, with the roles as senders; only where a person or a step wrote other texts

Only rows that held nothing else are stored so. What is told here means the same as the source row, though
its spaces, escapes and the order of its keys may differ.
"""

from typing import TYPE_CHECKING, Any

from studio.workshop.versions.layout import BESIDE_CONTENT, json_text
from studio.workshop.versions.manifest import Manifest

if TYPE_CHECKING:
    import polars as pl

CHAT, SHAREGPT, DIALOGUE, PROMPT_COMPLETION = "chat", "sharegpt", "dialogue", "prompt_completion"
SHAREGPT_SPEAKERS = {"human": "user", "gpt": "assistant", "system": "system"}
"""The one spelling of each speaker that is taken to be plain in ShareGPT rows."""
_SPEAKER_OF_ROLE = {role: speaker for speaker, role in SHAREGPT_SPEAKERS.items()}


def source_text(fields: dict[str, Any], manifest: Manifest) -> str:
    """The source row as JSON text, from the fields of a `Row` whose `raw` was not stored."""
    value: dict[str, Any] = {}
    for column, part in manifest.columns.items():
        if part == "category":
            value |= {column: fields["category"]} if "category" in fields else {}
        elif part in ("messages", "conversations", "dialogue"):
            value[column] = _turns(fields["messages"], manifest.shape)
        elif part in fields:
            value[column] = fields[part]
    return json_text(value | fields.get("extra", {})) or "{}"


def plain_texts(rows: "pl.DataFrame", manifest: Manifest) -> "pl.Expr":
    """`source_text` of rows that hold nothing but speakers and texts; null for all others."""
    import polars as pl

    fields, is_plain = [], pl.col("extra").is_null() & pl.col("category").is_null()
    for column, part in manifest.columns.items():
        if part in ("messages", "conversations"):
            fields.append(_plain_turns(manifest.shape).alias(column))
            is_plain &= _has_only_texts()
        elif part in ("prompt", "completion", "text") and rows.schema.get(part) == pl.String:
            fields.append(pl.col(part).alias(column))
            is_plain &= pl.col(part).is_not_null()
        else:
            return pl.lit(None, pl.String)
    return pl.when(is_plain).then(pl.struct(fields).struct.json_encode())


def _plain_turns(shape: str) -> "pl.Expr":
    import polars as pl

    role, content = (pl.element().struct.field(name) for name in ("role", "content"))
    said = {"from": role.replace(_SPEAKER_OF_ROLE), "value": content} if shape == SHAREGPT else {}
    return pl.col("messages").list.eval(pl.struct(**(said or {"role": role, "content": content})))


def _has_only_texts() -> "pl.Expr":
    """Whether no turn of a row says more than who speaks and what."""
    import polars as pl

    is_bare = pl.all_horizontal(pl.element().struct.field(name).is_null() for name in BESIDE_CONTENT)
    tools = pl.col("tools").is_null()
    return tools & pl.col("messages").list.eval(is_bare).list.all()


def _turns(messages: list[dict[str, Any]], shape: str) -> list[dict[str, Any]]:
    if shape == SHAREGPT:
        return [{"from": _SPEAKER_OF_ROLE[turn["role"]], "value": turn["content"]} for turn in messages]
    if shape == DIALOGUE:
        return [{"sender": turn["role"], "text": turn["content"]} for turn in messages]
    return messages

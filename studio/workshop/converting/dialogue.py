"""Chats of two people who stand there by name or number -> turns of user and assistant.

    [{"sender": "Ann", "text": "Hi"}, {"sender": "Ann", "text": "Are you there?"}, {"sender": "Bo", "text": "Yes"}]
        -> user: "Hi\\nAre you there?", assistant: "Yes"
    [[{"sender": 7, "text": "Hi"}], [{"sender": 9, "text": "Yes"}]]    one list for each who writes in a row: the same

Who writes first is the user. A sender with a name that tells a role ("assistant", "bot", "human") keeps that role. What
cannot be read is added to `faults`, and reading goes on.
"""

from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby
from typing import Any, NamedTuple

from studio.workshop.converting.shapes import CALL_SPEAKER, ROLES, TURN_KEYS
from studio.workshop.problems import RowFault, kind_of, shorten
from studio.workshop.versions.layout import Turn

SENDER_KEYS = ("sender", "author", "from", "speaker", "user", "name", "发送者", "发送人", "说话人")
TEXT_KEYS = ("text", "message", "content", "body", "内容", "消息")
_ID_KEYS = ("id", "name", "username")
"""What tells a sender apart who is an object."""
_SIDES = ("user", "assistant")


class _Message(NamedTuple):
    number: int
    place: str
    sender: str | int
    text: str


def is_dialogue(turns: list[Any]) -> bool:
    """Whether the first message that shows it has a sender and a text, and is no turn of another shape."""
    for _, message in _placed(turns, ""):
        if isinstance(message, dict):
            if "role" in message or any(message.keys() >= {*keys} for keys in TURN_KEYS.values()):
                return False
            if None not in _keys_of(message):
                return True
    return False


def read_dialogue(turns: list[Any], column: str, faults: list[RowFault], *, has_system: bool) -> list[Turn]:
    """The turns of a column; `has_system` says that a system text will stand in front of them."""
    found: list[RowFault] = []
    messages = [
        _message(message, number, place, found) for number, (place, message) in enumerate(_placed(turns, column), 1)
    ]
    roles = {} if found else _roles(messages, column, found)
    made: list[Turn] = []
    for role, together in groupby(messages if roles else (), key=lambda message: roles[message.sender]):
        run = list(together)
        if role == "system" and (made or has_system):
            found.append(RowFault("system_not_first", run[0].place, {"turn": run[0].number}))
        made.append({"role": role, "content": "\n".join(message.text for message in run)})
    if made and not found and made[-1]["role"] != "assistant":
        values = {"turn": len(messages), "role": made[-1]["role"]}
        found.append(RowFault("last_not_assistant", run[0].place, values))
    faults += found
    return made


def unread_in(turns: Any) -> set[str]:
    """Keys of messages that say something, and neither who writes nor what."""
    messages = (message for _, message in _placed(turns, "") if isinstance(message, dict))
    return {
        key
        for message in messages
        for key in message.keys() - _keys_of(message)
        if message[key] not in (None, "", [], {})
    }


def without_empty(turns: list[Any]) -> list[Any]:
    """The messages of a column that hold more than spaces; a list that is empty then goes too."""
    kept = [without_empty(item) if isinstance(item, list) else item for item in turns]
    return [item for item in kept if item != [] and not _is_empty(item)]


def _is_empty(message: Any) -> bool:
    text = message.get(_keys_of(message)[1]) if isinstance(message, dict) else None
    return isinstance(text, str) and not text.strip()


def _placed(turns: Any, column: str) -> Iterator[tuple[str, Any]]:
    """Every message with its place."""
    for index, item in enumerate(turns if isinstance(turns, list) else ()):
        place = f"{column}[{index}]"
        if isinstance(item, list):
            yield from ((f"{place}[{inner}]", message) for inner, message in enumerate(item))
        else:
            yield place, item


def _keys_of(message: dict) -> tuple[str | None, str | None]:
    """The keys that hold who writes, and what."""
    return _keys_among(tuple(message))


@lru_cache(maxsize=1000)
def _keys_among(keys: tuple[str, ...]) -> tuple[str | None, str | None]:
    """Messages of a file mostly have the same keys."""
    return next((key for key in SENDER_KEYS if key in keys), None), next(
        (key for key in TEXT_KEYS if key in keys), None
    )


def _message(message: Any, number: int, place: str, faults: list[RowFault]) -> _Message:
    if not isinstance(message, dict):
        faults.append(RowFault("turn_not_object", place, {"turn": number, "found": kind_of(message)}))
        return _Message(number, place, "", "")
    sender_key, text_key = _keys_of(message)
    if sender_key is None or text_key is None:
        usual = SENDER_KEYS[0] if sender_key is None else TEXT_KEYS[0]
        names = {"turn": number, "key": usual, "found_keys": shorten(", ".join(message) or "{}")}
        faults.append(RowFault("turn_missing_key", f"{place}.{usual}", names))
        return _Message(number, place, "", "")
    sender, text = message[sender_key], message[text_key]
    who = _identity(sender)
    if who is None:
        found = {"turn": number, "found": kind_of(sender), "value": shorten(sender)}
        faults.append(RowFault("sender_not_named", f"{place}.{sender_key}", found))
    if not isinstance(text, str):
        found = {"turn": number, "found": kind_of(text), "value": shorten(text)}
        faults.append(RowFault("non_text_content", f"{place}.{text_key}", found))
    elif not text.strip():
        faults.append(RowFault("empty_message", f"{place}.{text_key}", {"turn": number}))
    return _Message(number, place, "" if who is None else who, text)


def _identity(sender: Any) -> str | int | None:
    """What tells a sender from another: a name or a number, or that of an object; None for anything else."""
    if isinstance(sender, dict):
        sender = next((sender[key] for key in _ID_KEYS if sender.get(key) is not None), None)
    if isinstance(sender, str):
        return sender if sender.strip() else None
    return sender if type(sender) is int else None


def _roles(messages: list[_Message], column: str, faults: list[RowFault]) -> dict[str | int, str]:
    """Who writes -> which role; nothing where the sides are not two."""
    if not messages:
        faults.append(RowFault("no_messages", column))
        return {}
    senders = list(dict.fromkeys(message.sender for message in messages))
    roles = {who: ROLES[who.lower()] for who in senders if isinstance(who, str) and who.lower() in ROLES}
    tool = next((who for who, role in roles.items() if role == "tool" or who.lower() == CALL_SPEAKER), None)
    if tool:
        faults.append(RowFault("tool_sends", column, {"name": shorten(tool)}))
        return {}
    free = [side for side in _SIDES if side not in roles.values()]
    unnamed = [who for who in senders if who not in roles]
    if len(unnamed) > len(free):
        names = {"count": len(senders), "names": shorten(", ".join(map(str, senders)))}
        faults.append(RowFault("more_than_two_senders", column, names))
        return {}
    roles |= dict(zip(unnamed, free, strict=False))
    if not {*_SIDES} <= {*roles.values()}:
        names = ", ".join(str(who) for who in senders if roles[who] != "system")
        faults.append(RowFault("one_sender", column, {"name": shorten(names or "system")}))
        return {}
    return roles

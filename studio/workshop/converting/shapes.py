"""The shapes that source rows come in, the parts that their columns can play, and what each becomes.

    chat               {"messages": [{"role", "content"}], "tools"?}                     -> messages
    sharegpt           {"conversations": [{"from", "value"}], "system"?, "tools"?}       -> messages
    pairs              {"conversation": [["Hi", "Hello"], ...], "system"?}               -> messages
    dialogue           {"messages": [{"sender": "Ann", "text"}], "system"?}              -> messages
    chat_completion    {"prompt": [turns], "completion": [turns]}                        -> messages
    alpaca             {"instruction", "input"?, "output", "system"?}                    -> prompt_completion
      with history     {..., "history": [["Hi", "Hello"], ...]}                          -> messages
    prompt_completion  {"prompt", "completion", "system"?} and its aliases               -> prompt_completion
    preference         {"prompt"?, "chosen", "rejected"} as texts, a turn, or turns      -> preference
    unpaired           {"prompt"?, "completion", "label"}                                -> unpaired
    stepwise           {"prompt", "completions": [steps], "labels": [true, ...]}         -> stepwise
    prompt             {"prompt"}, text or turns; other columns are kept beside it       -> prompt
    text               {"text"}                                                          -> text
    tokens             {"input_ids", "labels"?}                                          -> tokens

A mapping says which of a row's columns plays which part: `{"question": "prompt", "answer": "completion"}`. Which shape
a row shows is told in `recognise.py`; what it becomes, in `convert.py`.
"""

from types import MappingProxyType

from studio.errors import RefusedInput
from studio.workshop.problems import closest
from studio.workshop.versions import layout

CHAT, SHAREGPT, PAIRS, DIALOGUE, CHAT_COMPLETION = "chat", "sharegpt", "pairs", "dialogue", "chat_completion"
ALPACA, PROMPT_COMPLETION = "alpaca", "prompt_completion"
PREFERENCE, UNPAIRED, STEPWISE = "preference", "unpaired", "stepwise"
PROMPT, TEXT, TOKENS = "prompt", "text", "tokens"

FORMAT_OF_SHAPE = MappingProxyType(
    {
        CHAT: layout.MESSAGES,
        SHAREGPT: layout.MESSAGES,
        PAIRS: layout.MESSAGES,
        DIALOGUE: layout.MESSAGES,
        CHAT_COMPLETION: layout.MESSAGES,
        ALPACA: layout.PROMPT_COMPLETION,
        PROMPT_COMPLETION: layout.PROMPT_COMPLETION,
        PREFERENCE: layout.PREFERENCE,
        UNPAIRED: layout.UNPAIRED,
        STEPWISE: layout.STEPWISE,
        PROMPT: layout.PROMPT,
        TEXT: layout.TEXT,
        TOKENS: layout.TOKENS,
    }
)
"""Shape -> trl type, but see `format_of`."""
SHAPES = tuple(FORMAT_OF_SHAPE)

REQUIRED_PARTS = MappingProxyType(
    {
        CHAT: ("messages",),
        SHAREGPT: ("conversations",),
        PAIRS: ("pairs",),
        DIALOGUE: ("dialogue",),
        CHAT_COMPLETION: ("prompt", "completion"),
        ALPACA: ("instruction", "output"),
        PROMPT_COMPLETION: ("prompt", "completion"),
        PREFERENCE: ("chosen", "rejected"),
        UNPAIRED: ("completion", "label"),
        STEPWISE: ("prompt", "completions", "labels"),
        PROMPT: ("prompt",),
        TEXT: ("text",),
        TOKENS: ("input_ids",),
    }
)
CATEGORY = "category"
"""A part of every shape: the column that a split is stratified by."""
OPTIONAL_PARTS = MappingProxyType(
    {
        CHAT: ("system", "tools", CATEGORY),
        SHAREGPT: ("system", "tools", CATEGORY),
        PAIRS: ("system", CATEGORY),
        DIALOGUE: ("system", CATEGORY),
        CHAT_COMPLETION: ("system", "tools", CATEGORY),
        ALPACA: ("input", "system", "history", CATEGORY),
        PROMPT_COMPLETION: ("system", "history", CATEGORY),
        PREFERENCE: ("prompt", "input", "system", CATEGORY),
        UNPAIRED: ("prompt", "system", CATEGORY),
        STEPWISE: (CATEGORY,),
        PROMPT: ("system", CATEGORY),
        TEXT: (CATEGORY,),
        TOKENS: ("labels", CATEGORY),
    }
)

ROLES = MappingProxyType(
    {
        "system": "system",
        "developer": "system",
        "user": "user",
        "human": "user",
        "assistant": "assistant",
        "gpt": "assistant",
        "chatgpt": "assistant",
        "bot": "assistant",
        "model": "assistant",
        "function_call": "assistant",
        "tool": "tool",
        "function": "tool",
        "observation": "tool",
        "tool_response": "tool",
    }
)
"""A speaker as sources spell it -> as chat templates do."""
CALL_SPEAKER = "function_call"

TURN_KEYS = MappingProxyType({CHAT: ("role", "content"), SHAREGPT: ("from", "value")})

Mapping = dict[str, str]


def format_of(shape: str, columns: Mapping) -> str:
    """The trl type that rows of this shape become: a history of earlier turns makes a conversation of a pair."""
    return layout.MESSAGES if "history" in columns.values() else FORMAT_OF_SHAPE[shape]


def shape_with(columns: Mapping) -> str:
    """The shape that has the parts of a mapping that a person made without naming one."""
    parts = set(columns.values())
    fitting = (
        shape
        for shape in (PROMPT_COMPLETION, *SHAPES)
        if parts <= {*REQUIRED_PARTS[shape], *OPTIONAL_PARTS[shape]} and parts.issuperset(REQUIRED_PARTS[shape])
    )
    closest_shape = max(SHAPES, key=lambda shape: len(parts & {*REQUIRED_PARTS[shape], *OPTIONAL_PARTS[shape]}))
    return next(fitting, closest_shape)


def checked_mapping(shape: str, columns: Mapping | None, *, file: str) -> Mapping:
    """The mapping to convert with: `columns` if it names every part that the shape needs, its own names if None.

    Raises:
        RefusedInput: unknown shape, unknown part, a needed part without a column, or two columns for one part.
    """
    if shape not in SHAPES:
        raise RefusedInput(
            "data.unknown_shape", shape=shape, known=", ".join(SHAPES), hint=closest(shape, SHAPES) or "chat"
        )
    parts = REQUIRED_PARTS[shape] + OPTIONAL_PARTS[shape]
    if not columns:
        return {part: part for part in parts if part != "history"}
    chosen = list(columns.values())
    for column, part in columns.items():
        if part not in parts:
            raise RefusedInput("data.unknown_part", file=file, column=column, part=part, known=", ".join(parts))
        if chosen.count(part) > 1:
            raise RefusedInput("data.part_twice", file=file, part=part)
    missing = [part for part in REQUIRED_PARTS[shape] if part not in chosen]
    if missing:
        raise RefusedInput("data.part_missing", file=file, parts=", ".join(missing), shape=shape)
    return dict(columns)


def column_of(mapping: Mapping, part: str) -> str | None:
    """The column that plays `part`."""
    return next((column for column, its_part in mapping.items() if its_part == part), None)

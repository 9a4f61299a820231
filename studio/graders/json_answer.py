"""Is the answer JSON of the wanted form, and are its values right?

    keys {"name": "text"}    '{"name": "Ann"}'    ->  1
                             '{"name": 7}'        ->  0: wrong_type
    match values             '{"name": "Ann", "age": 3}' wanted '{"name": "Ann", "age": 4}'   ->  0.5

`keys` is the short form of the workshop's task schema; `schema` takes a JSON Schema (draft 2020-12 and older), whose
patterns run in linear time and whose references are not fetched.
"""

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import jsonschema_rs
import msgspec

from studio.errors import RefusedInput
from studio.graders.answers import exact_match
from studio.graders.score import Row, Score, missing
from studio.workshop.problems import shorten
from studio.workshop.texts.schema import violations

_FENCED = re.compile(r"\s*```[A-Za-z0-9]*[ \t]*\n(.*?)\n?```\s*\Z", re.DOTALL)
TYPES = ("text", "number", "boolean", "list", "object", "nothing")
MOST_PLACES = 2000
"""Values that are compared of one answer."""
_UNREADABLE = object()


class Options(msgspec.Struct, frozen=True, kw_only=True):
    match: Literal["form", "values"] = "form"
    """values: the score is the share of the wanted values that are there, of an answer of the right form."""
    keys: dict[str, str] = {}
    """Place -> type, as {"name": "text", "items[].price": "number|nothing"}; see `studio.workshop.texts.schema`."""
    optional: tuple[str, ...] = ()
    """Places of `keys` that may be missing."""
    other_keys: bool = True
    schema: dict[str, Any] = {}
    fence: Literal["either", "forbidden", "required"] = "either"
    """Whether the JSON may, must not or must stand in a code block."""


def check(options: Options) -> None:
    """
    Raises:
        RefusedInput: a type that there is not, or a schema that is none.
    """
    for place, kinds in options.keys.items():
        for kind in kinds.split("|"):
            if kind not in TYPES:
                raise RefusedInput("reward.bad_type", place=place[:40], kind=kind[:40], known=", ".join(TYPES))
    try:
        _validator(_text(options.schema))
    except (ValueError, RecursionError) as error:
        raise RefusedInput("reward.bad_schema", detail=shorten(error)) from None


def grade(answers: Sequence[str], rows: Sequence[Row], options: Options) -> list[Score]:
    validator = _validator(_text(options.schema))
    return [_score(answer, row, options, validator) for answer, row in zip(answers, rows, strict=True)]


def decoded(text: str) -> Any:
    """The value; `_UNREADABLE` where it is no JSON."""
    try:
        return msgspec.json.decode(text.encode("utf-8", "surrogatepass"))
    except (msgspec.DecodeError, RecursionError):
        return _UNREADABLE


def unfenced(answer: str) -> tuple[str, bool]:
    """The text inside a code block, and whether there was one."""
    inner = _FENCED.match(answer)
    return (inner[1], True) if inner else (answer, False)


def _score(answer: str, row: Row, options: Options, validator: Any) -> Score:
    wanted = _wanted(row) if options.match == "values" else None
    if isinstance(wanted, Score):
        return wanted
    text, is_fenced = unfenced(answer)
    if options.fence != "either" and is_fenced != (options.fence == "required"):
        return Score(0.0, "in_fence" if is_fenced else "no_fence")
    value = decoded(text)
    if value is _UNREADABLE:
        return Score(0.0, "not_json")
    wrong = violations(value, options.keys, options.optional, options.other_keys)
    if wrong:
        return Score(0.0, wrong[0].what, wrong[0].place[:60])
    if not validator.is_valid(value):
        return Score(0.0, "schema", shorten(next(validator.iter_errors(value)).message))
    return Score(1.0) if options.match == "form" else _share(value, wanted)


def _wanted(row: Row) -> Any:
    if row.reference is None or not row.reference.strip():
        return missing("no_reference")
    value = decoded(unfenced(row.reference)[0])
    return missing("reference_not_json") if value is _UNREADABLE else value


def _share(value: Any, wanted: Any) -> Score:
    """The share of the wanted values that stand at their places; values nobody asked for count as wrong ones."""
    ours, theirs = dict(_leaves(value)), dict(_leaves(wanted))
    places = ours.keys() | theirs.keys()
    right = sum(place in ours and place in theirs and _is_same(ours[place], theirs[place]) for place in places)
    if right == len(places):
        return Score(1.0)
    first = min(
        place
        for place in places
        if place not in ours or place not in theirs or not _is_same(ours[place], theirs[place])
    )
    return Score(right / len(places), "value_differs", first[:60])


def _is_same(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, str) and isinstance(theirs, str):
        return exact_match(ours, theirs)
    return isinstance(ours, bool) == isinstance(theirs, bool) and ours == theirs


def _leaves(value: Any) -> list[tuple[str, Any]]:
    """Place -> value for everything that holds nothing else; an empty list or object is a value."""
    found: list[tuple[str, Any]] = []
    rest: list[tuple[str, Any]] = [("", value)]
    while rest and len(found) < MOST_PLACES:
        place, each = rest.pop()
        if isinstance(each, dict) and each:
            rest += [(f"{place}.{key}" if place else str(key), inner) for key, inner in each.items()]
        elif isinstance(each, list) and each:
            rest += [(f"{place}[{number}]", inner) for number, inner in enumerate(each)]
        else:
            found.append((place, each))
    return found


def _text(schema: dict[str, Any]) -> str:
    return json.dumps(schema, sort_keys=True)


@lru_cache(maxsize=32)
def _validator(schema: str) -> Any:
    """
    Raises:
        ValueError: it is no schema, or refers to one elsewhere.
    """
    try:
        return jsonschema_rs.validator_for(
            schema, pattern_options=jsonschema_rs.RegexOptions(size_limit=1 << 20), offline=True
        )
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as error:
        raise ValueError(str(error)) from error

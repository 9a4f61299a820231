"""The shape of a JSON answer: which keys it has at which place, and of which type; checked, and read off many answers.

    shape_of([{"a": 1, "b": {"c": "x"}}, {"a": 2.5, "b": {"c": None}}])
      ->  Shape(keys={"a": "number", "b": "object", "b.c": "text|nothing"}, optional=())
    violations({"a": "1"}, {"a": "number", "b": "object"}, (), True)
      ->  [Violation("wrong_type", "a", wanted="number", found="text"), Violation("missing_key", "b", "object", "")]

A place is written as `items[].price`: the key `price` of every object in the list `items`. An answer that is itself a
list begins with `[]`.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from studio.workshop.problems import kind_of

MOST_PLACES = 500
"""An object with more keys than that is a table by key, not a shape."""


@dataclass(frozen=True)
class Shape:
    keys: dict[str, str]
    """Place -> type name, several joined by |: text, number, boolean, list, object, nothing."""
    optional: tuple[str, ...]


@dataclass(frozen=True)
class Violation:
    what: str
    """missing_key, wrong_type or extra_key."""
    place: str
    wanted: str
    found: str


def violations(value: Any, keys: dict[str, str], optional: Iterable[str], other_keys: bool) -> list[Violation]:
    """Everything in which `value` differs from the shape, each once, in the order of `keys`."""
    optional = set(optional)
    there = _kinds_at(value)
    found = []
    for place, wanted in keys.items():
        kinds = there.get(place)
        if kinds is None:
            if place not in optional and _parent_is_there(place, there):
                found.append(Violation("missing_key", place, wanted, ""))
        else:
            wrong = sorted(kinds - set(wanted.split("|")) - {MISSING})
            if wrong:
                found.append(Violation("wrong_type", place, wanted, "|".join(wrong)))
            elif MISSING in kinds and place not in optional:
                found.append(Violation("missing_key", place, wanted, ""))
    if not other_keys:
        found += [Violation("extra_key", place, "", "|".join(sorted(there[place]))) for place in _extra(there, keys)]
    return found


def shape_of(values: list[Any], *, required_share: float = 0.9, type_share: float = 0.05) -> Shape:
    """The shape that most values have.

    A place counts if more than half of the values have it; it is optional below `required_share`; a type counts from
    `type_share` of the places on.
    """
    having: Counter[str] = Counter()
    kinds: dict[str, Counter[str]] = defaultdict(Counter)
    gaps: Counter[str] = Counter()
    for value in values:
        for place, found in _kinds_at(value).items():
            having[place] += 1
            gaps[place] += MISSING in found
            kinds[place].update(found - {MISSING})
    usual = [place for place, count in having.items() if place and count > len(values) / 2][:MOST_PLACES]
    keys = {place: "|".join(_usual_kinds(kinds[place], type_share)) for place in usual}
    optional = tuple(
        place
        for place in usual
        if having[place] - gaps[place] < required_share * having.get(_parent_of(place), len(values))
    )
    return Shape(keys, optional)


MISSING = "missing"
"""Among the kinds of a place inside a list: some element lacks it."""


def _kinds_at(value: Any) -> dict[str, set[str]]:
    """Place -> the types that stand there; the whole value's is ''."""
    there: dict[str, set[str]] = defaultdict(set)
    for place, kind in _walk(value, ""):
        there[place].add(kind)
    return dict(there)


def _walk(value: Any, place: str) -> Iterator[tuple[str, str]]:
    yield place, kind_of(value)
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _walk(inner, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list):
        inside = f"{place}[]"
        every = set().union(*(inner for inner in value if isinstance(inner, dict)))
        for inner in value:
            yield from _walk(inner, inside)
            if isinstance(inner, dict):
                yield from ((f"{inside}.{key}", MISSING) for key in every - inner.keys())


def _parent_of(place: str) -> str:
    return place[:-2] if place.endswith("[]") else place.rpartition(".")[0]


def _parent_is_there(place: str, there: dict[str, set[str]]) -> bool:
    """A key is missing only where its object stands: a missing object is told once, an empty list lacks nothing."""
    parent = _parent_of(place)
    return not place.endswith("[]") and "object" in there.get(parent, ())


def _extra(there: dict[str, set[str]], keys: dict[str, str]) -> list[str]:
    """The keys that nobody named, of the objects of which some key is named."""
    containers = {""}
    for place in keys:
        while place:
            place = _parent_of(place)
            containers.add(place)
    named = containers | keys.keys()
    return [place for place in there if place not in named and place[-2:] != "[]" and _parent_of(place) in containers]


def _usual_kinds(kinds: Counter[str], share: float) -> list[str]:
    least = share * kinds.total()
    return [kind for kind, count in kinds.most_common() if count >= least]

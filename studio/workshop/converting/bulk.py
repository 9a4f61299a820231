"""Many good chat rows at once: lines of JSON straight into Arrow columns, every check made on whole columns.

    BulkReader("chat", {"messages": "messages"}).read([b'{"messages": [...]}\\n', ...])
        -> list<struct<role, content, ...>>, one entry a line
        -> None: some line is not plain; let `quick.py` look at each

A batch is taken only if each line is an object of nothing but turns of a speaker and a text, none of them empty, in an
order that `turns.check_order` has no fault with: then what is trained tells the source rows (`plain.py`).
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from studio.workshop.converting.shapes import CHAT, SHAREGPT, TURN_KEYS
from studio.workshop.versions.layout import ROLES, turn_type

BATCH_LINES, BATCH_BYTES = 1000, 1 << 20
"""As many lines as share a fate: one odd one sends them all the slower way."""

_SYSTEM, _USER, _ASSISTANT = (ROLES.index(role) for role in ("system", "user", "assistant"))
_SPEAKERS = {CHAT: ROLES, SHAREGPT: ("system", "human", "gpt")}
"""In the order of ROLES."""


def can_read(shape: str, columns: Mapping[str, str], names: list[str]) -> bool:
    """Whether rows of this shape and these columns can be read in bulk: conversations with nothing beside them."""
    return shape in _SPEAKERS and len(columns) == 1 and names == list(columns)


class BulkReader:
    """Reads batches of one file's lines."""

    def __init__(self, shape: str, columns: Mapping[str, str]) -> None:
        import pyarrow
        import pyarrow.json

        (self._column,) = columns
        text = pyarrow.string()
        turn = pyarrow.struct([(key, text) for key in TURN_KEYS[shape]])
        self._options = pyarrow.json.ParseOptions(
            explicit_schema=pyarrow.schema([(self._column, pyarrow.list_(turn))]), unexpected_field_behavior="error"
        )
        self._speakers = pyarrow.array(_SPEAKERS[shape])
        self._rows_of: Counter[str] = Counter()

    def speakers(self) -> Counter[str]:
        """Speakers as the source spells them -> rows."""
        return Counter({name: count for name, count in self._rows_of.items() if count})

    def read(self, lines: list[bytes]) -> Any | None:
        import pyarrow
        import pyarrow.compute as compute

        column = self._parsed(lines)
        if column is None:
            return None
        turns = column.flatten()
        said, contents = turns.flatten()
        if turns.null_count or contents.null_count or _any_blank(contents):
            return None
        codes = compute.index_in(said, value_set=self._speakers)
        if codes.null_count or not self._is_ordered(column, codes):
            return None
        roles = pyarrow.array(ROLES).take(codes)
        fields = list(turn_type())
        arrays = [roles, contents, *(pyarrow.nulls(len(roles), field.type) for field in fields[2:])]
        items = pyarrow.StructArray.from_arrays(arrays, fields=fields)
        return pyarrow.ListArray.from_arrays(column.offsets, items)

    def _parsed(self, lines: list[bytes]) -> Any | None:
        """The lines as one column; None if any of them is not one object of the expected form."""
        import pyarrow
        import pyarrow.json

        # Arrow reads values one after the other: a value that spans lines, or two on one, would shift all others.
        if any(line[0] != 0x7B or line[-2:] != b"}\n" for line in lines):
            return None
        data = b"".join(lines)
        try:
            table = pyarrow.json.read_json(
                pyarrow.BufferReader(data),
                pyarrow.json.ReadOptions(use_threads=False, block_size=len(data) + 1),
                self._options,
            )
            column = table[self._column].combine_chunks()
            column.validate(full=True)
        except pyarrow.ArrowException:
            return None
        return column if len(column) == len(lines) and not column.null_count else None

    def _is_ordered(self, column: Any, codes: Any) -> bool:
        """What `turns.check_order` asks, for all conversations at once; counts their speakers."""
        import numpy

        offsets = column.offsets.to_numpy()
        starts = offsets[:-1] - offsets[0]
        if not len(starts) or not numpy.diff(offsets).all():
            return False
        said = codes.to_numpy()
        is_first = numpy.zeros(len(said), bool)
        is_first[starts] = True
        repeats = (said[1:] == said[:-1]) & ~is_first[1:] & ((said[1:] == _USER) | (said[1:] == _ASSISTANT))
        is_last = numpy.append(is_first[1:], True)
        rows_with = [numpy.logical_or.reduceat(said == code, starts).sum() for code in range(len(self._speakers))]
        is_ordered = (
            not repeats.any()
            and not ((said == _SYSTEM) & ~is_first).any()
            and bool((said[is_last] == _ASSISTANT).all())
            and rows_with[_USER] == len(starts)
        )
        if is_ordered:
            for name, count in zip(self._speakers.to_pylist(), rows_with, strict=True):
                self._rows_of[name] += int(count)
        return is_ordered


def _any_blank(texts: Any) -> bool:
    import pyarrow.compute as compute

    if not len(texts):
        return False
    return compute.min(compute.binary_length(texts)).as_py() == 0 or compute.any(compute.utf8_is_space(texts)).as_py()

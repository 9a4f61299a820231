"""The columns of one row by the part that they play, each read with all checks; what is wrong is collected in `faults`.

Parts({"q": "Hi", "a": 5}, {"prompt": "q", "completion": "a"}).text("completion", needed=True)
    -> None, and the fault that `a` is a number
"""

from typing import Any

from studio.workshop.converting.labels import label_of
from studio.workshop.converting.turns import listed
from studio.workshop.problems import RowFault, closest, kind_of, shorten


class Parts:
    """One row while it is converted."""

    def __init__(self, row: dict[str, Any], columns: dict[str, str]) -> None:
        self.faults: list[RowFault] = []
        self._row = row
        self._columns = columns

    def names(self, part: str) -> bool:
        """Whether the mapping gives this part a column."""
        return part in self._columns

    def column(self, part: str) -> str:
        """The name of the part's column, for faults."""
        return self._columns.get(part, part)

    def has(self, part: str) -> bool:
        return self.column(part) in self._row

    def value(self, part: str) -> Any:
        return self._row.get(self._columns.get(part))

    def text(self, part: str, *, needed: bool, is_prompt: bool = False) -> str | None:
        """The part's text; null will do where it is not needed. A prompt must hold more than spaces."""
        if not needed and not self.names(part):
            return None
        value = self.value(part)
        if isinstance(value, str):
            if is_prompt and not value.strip():
                self.faults.append(RowFault("empty_prompt", self.column(part)))
            return value
        if value is None and not needed:
            return None
        if not self.has(part):
            self.missing(part)
        else:
            self._wrong("wrong_type", part, value)
        return None

    def items(self, part: str) -> list[Any] | None:
        """The part's list; a table's cell may hold it as JSON text."""
        if not self.has(part):
            self.missing(part)
            return None
        value = listed(self.value(part))
        if not isinstance(value, list):
            self._wrong("not_a_list", part, value)
            return None
        return value

    def integers(self, part: str, *, least: int) -> list[int] | None:
        values = self.items(part)
        for index, value in enumerate(values or ()):
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 1 << 31:
                found = {"found": kind_of(value), "value": shorten(value), "place": index + 1}
                self.faults.append(RowFault("not_token", f"{self.column(part)}[{index}]", found))
                return None
        return values

    def label(self, value: Any, place: str) -> bool | None:
        label = label_of(value)
        if label is None:
            self.faults.append(RowFault("wrong_label", place, {"found": kind_of(value), "value": shorten(value)}))
        return label

    def check_lengths(self, part: str, values: list[Any], other: str, others: list[Any]) -> None:
        if len(values) != len(others):
            found = {"count": len(values), "other": self.column(other), "others": len(others)}
            self.faults.append(RowFault("lengths_differ", self.column(part), found))

    def missing(self, part: str) -> None:
        column = self.column(part)
        found = shorten(", ".join(map(str, self._row)) or "{}")
        free = [name for name in self._row if isinstance(name, str) and name not in self._columns.values()]
        hint = closest(column, free)
        if hint:
            self.faults.append(RowFault("missing_key_hint", column, {"found_keys": found, "hint": hint}))
        else:
            self.faults.append(RowFault("missing_key", column, {"found_keys": found}))

    def _wrong(self, code: str, part: str, value: Any) -> None:
        self.faults.append(RowFault(code, self.column(part), {"found": kind_of(value), "value": shorten(value)}))

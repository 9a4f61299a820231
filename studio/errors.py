"""The errors a person may meet, as one tree.

    StudioError                 has a code and values; its words are in app/locales/*/errors.yaml
    ├── RefusedInput            what was asked cannot be done as asked (command line: exit 2)
    │   ├── UnknownName         no such job, data set, model, checkpoint
    │   ├── SpecRefused         a spec with one or more faults, all reported together
    │   └── Conflict            it clashes with something that runs or exists already
    └── Failure                 it was right to ask, and it went wrong (command line: exit 1)
        ├── ServerUnreachable   the studio's server does not answer
        └── JobFailed           a job ended with a known reason (trainers raise it; see studio/jobs/lifecycle.py)

Raise low, catch where something can be done, turn into words once, at the edge.
"""

from dataclasses import dataclass, field

from studio.messages import say


class StudioError(Exception):
    """`code` is a key below `errors.` in the locale files; `values` fill its sentence."""

    def __init__(self, code: str, /, **values: object) -> None:
        super().__init__(code)
        self.code = code
        self.values = values

    def message(self, language: str = "en") -> str:
        return say(f"errors.{self.code}", language, **self.values)

    def __str__(self) -> str:
        return self.message()


class RefusedInput(StudioError):
    pass


class UnknownName(RefusedInput):
    pass


class Conflict(RefusedInput):
    pass


@dataclass(frozen=True)
class Fault:
    """One thing wrong with one field of a spec."""

    field: str
    code: str
    values: dict[str, object] = field(default_factory=dict)

    def message(self, language: str = "en") -> str:
        return say(f"errors.{self.code}", language, field=self.field, **self.values)


class SpecRefused(RefusedInput):
    """Every fault of a spec at once, so that a person mends it in one go."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("spec.refused", count=len(faults))
        self.faults = faults

    def message(self, language: str = "en") -> str:
        return " ".join(fault.message(language) for fault in self.faults)


class Failure(StudioError):
    pass


class ServerUnreachable(Failure):
    pass


class JobFailed(Failure):
    """Raised inside a job; `reason` is one of `studio.protocol.REASONS`."""

    def __init__(self, reason: str, /, **values: object) -> None:
        super().__init__(f"job.{reason}", **values)
        self.reason = reason

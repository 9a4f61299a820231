"""What every page is built with: the desk, the registry, and the language."""

from dataclasses import dataclass

from studio.db.engine import Reader
from studio.desk import Desk
from studio.messages import say


@dataclass(frozen=True)
class Context:
    """One language's view of one studio."""

    language: str
    desk: Desk
    registry: Reader
    has_login: bool = False
    """Whether browsers have to log in, and so can log out."""

    def say(self, key: str, **values: object) -> str:
        return say(key, self.language, **values)

"""Small settings of this studio, by name; `Desk.keep_preference` writes them."""

from typing import Any

from sqlalchemy.orm import Session

from studio.db.tables import Preference


def preference(session: Session, key: str) -> dict[str, Any] | None:
    found = session.get(Preference, key)
    return found.value if found else None

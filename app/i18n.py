"""Language of a page: which one a browser gets, addresses inside it, and numbers written the way a person reads them.

The words themselves come from `studio.messages.say`.
"""

from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

from studio.messages import LANGUAGES, say

COOKIE = "luthier_language"
PAGES = ("home", "data", "train", "runs", "checkpoints", "models", "settings")
_GIB = 1 << 30


def choose_language(cookie: str | None, accept_language: str | None) -> str:
    """`en` or `zh`: what was chosen before, else the browser's first wish that we speak, else English."""
    if cookie in LANGUAGES:
        return cookie
    wishes = []
    for place, part in enumerate((accept_language or "").split(",")[:20]):
        tag, _, weight = part.strip().partition(";q=")
        try:
            wishes.append((-float(weight or 1), place, tag.split("-")[0].lower()))
        except ValueError:
            continue
    spoken = [tag for weight, _, tag in sorted(wishes) if tag in LANGUAGES and weight < 0]
    return spoken[0] if spoken else LANGUAGES[0]


def page_path(language: str, page: str, **query: object) -> str:
    """`("en", "runs", run=4)` -> `/en/runs?run=4`; home is `/en/`."""
    path = f"/{language}/" if page == "home" else f"/{language}/{page}"
    return f"{path}?{urlencode(query)}" if query else path


def bytes_text(size: float | None) -> str:
    """`1536` -> `1.5 KB`, `3221225472` -> `3.0 GiB`; memory and disk are GiB on screen, small files are not."""
    if size is None:
        return "–"
    if size >= _GIB / 10:
        return f"{size / _GIB:.1f} GiB"
    for unit, scale in (("MB", 1 << 20), ("KB", 1 << 10)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{int(size)} B"


def path_text(path: str | Path) -> str:
    """A folder as people write it: `~/luthier` for the one in their home."""
    try:
        return str(Path("~") / Path(path).relative_to(Path.home()))
    except ValueError:
        return str(path)


def duration_text(seconds: float | None, language: str) -> str:
    """`95` -> `1 min 35 s`; two units at most."""
    if seconds is None:
        return "–"
    whole = max(0, round(seconds))
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    if hours:
        return say("common.time.hours_minutes", language, hours=hours, minutes=minutes)
    if minutes >= 10:
        return say("common.time.minutes", language, minutes=minutes)
    if minutes:
        return say("common.time.minutes_seconds", language, minutes=minutes, seconds=rest)
    return say("common.time.seconds", language, seconds=rest)


def seconds_between(start: str | None, end: str | None, *, now: datetime | None = None) -> float | None:
    """Seconds from one registry time to another, or to now where it has not ended."""
    if start is None:
        return None
    until = _parse(end) if end else now or datetime.now(UTC)
    return (until - _parse(start)).total_seconds()


def when_text(time: str | None, language: str) -> str:
    """A registry time on this machine's clock: `21 Nov 14:05`."""
    if time is None:
        return "–"
    local = _parse(time).astimezone()
    month = say(f"common.month.m{local.month}", language)
    return say("common.time.when", language, day=local.day, month=month, clock=f"{local:%H:%M}")


def number_text(value: float | None) -> str:
    """A metric for people: `0.000213` -> `2.13e-04`, `1.08342` -> `1.083`, `1200` -> `1,200`."""
    if value is None or value != value:
        return "–"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    if abs(value) < 0.001 or abs(value) >= 1e6:
        return f"{value:.2e}"
    return f"{value:.4g}"


def _parse(time: str) -> datetime:
    return datetime.fromisoformat(time.replace("Z", "+00:00"))

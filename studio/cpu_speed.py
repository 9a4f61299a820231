"""Whether this processor trains faster in float32 or in bfloat16: measured once by `luthier doctor`, kept in the cache.

measured(root)  ->  CpuSpeed(float32=61.2, bfloat16=14.9), whose `dtype` is "float32"; None before anybody measured
"""

import json
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from studio.paths import PROJECT_ROOT

WORTH = 1.2
"""bfloat16 is taken where it is so much faster: it rounds, so a little is not enough. Ours."""
_SECONDS = 120


@dataclass(frozen=True)
class CpuSpeed:
    float32: float
    bfloat16: float
    """Thousand million multiplications and additions a second."""

    @property
    def dtype(self) -> str:
        return "bfloat16" if self.bfloat16 > WORTH * self.float32 else "float32"


def measured(root: Path) -> CpuSpeed | None:
    """What was measured on this processor with this torch."""
    try:
        kept = json.loads(_place(root).read_bytes())
        return CpuSpeed(**kept["speed"]) if kept["of"] == _what() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def measure(root: Path) -> CpuSpeed | None:
    """Measure and keep; None where torch is missing or nothing came in time."""
    try:
        made = subprocess.run(
            [sys.executable, "-m", "trainers.cpu_speed"],
            cwd=PROJECT_ROOT,
            capture_output=True,
            timeout=_SECONDS,
            check=True,
        )
        found = CpuSpeed(**json.loads(made.stdout))
    except (OSError, ValueError, TypeError, subprocess.SubprocessError):
        return None
    _place(root).parent.mkdir(parents=True, exist_ok=True)
    _place(root).write_text(json.dumps({"of": _what(), "speed": asdict(found)}), "utf-8")
    return found


def _place(root: Path) -> Path:
    return root / "cache" / "cpu_speed.json"


def _what() -> dict[str, str]:
    try:
        torch = version("torch")
    except PackageNotFoundError:
        torch = ""
    return {"processor": _processor(), "torch": torch}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()

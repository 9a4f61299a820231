"""All figures of `docs/methods.md`: `python -m tests.bench.methods --minutes 120 [--page]`.

Each room in turn, as long as there is time; what stands in `results.jsonl` is not run again, so that the next call goes
on there.
"""

import argparse
import subprocess
import sys
import time

from studio.paths import PROJECT_ROOT

ROOMS = ("tunings", "stages", "forgetting", "losses")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=120, help="time after which nothing further is begun")
    parser.add_argument("--page", action="store_true", help="only write the page")
    asked = parser.parse_args()
    until = time.monotonic() + 60 * asked.minutes
    for room in ROOMS:
        minutes = max(0.0, (until - time.monotonic()) / 60)
        options = ["--page"] if asked.page else ["--minutes", f"{minutes:.1f}"]
        subprocess.run([sys.executable, "-m", f"{__package__}.{room}", *options], cwd=PROJECT_ROOT, check=True)


if __name__ == "__main__":
    main()

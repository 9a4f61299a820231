"""How often a long run saves: as asked, unless that would take more than a twentieth of its time.

    a save of 60 s every 15 minutes of a run of 1 hour  ->  1st taken, 2nd left out, 3rd taken, and the last one

Runs up to `SHORT_RUN_SECONDS` save as asked. A longer one has its first save in any case and its last step saved in any
case, so it never has fewer than two; in between a save is let through when all saves so far stay below `SHARE` of the
time so far, and the last one still has room. Where two saves alone take more than that, the two are taken.
"""

SHARE = 0.05
SHORT_RUN_SECONDS = 1800.0


class SavePace:
    """Told of every save, it says whether the next regular one is worth its time."""

    def __init__(self) -> None:
        self.seconds = 0.0
        """What saving took so far in this attempt."""
        self.longest = 0.0
        self.count = 0

    def saved(self, seconds: float) -> None:
        self.seconds += seconds
        self.longest = max(self.longest, seconds)
        self.count += 1

    def allows(self, *, elapsed_seconds: float, total_seconds: float) -> bool:
        """Whether a regular save may happen now.

        Args:
            elapsed_seconds: since training began in this attempt, saves included.
            total_seconds: what all steps of the run are expected to take.
        """
        if self.count == 0 or total_seconds <= SHORT_RUN_SECONDS:
            return True
        after, last = self.seconds + self.longest, self.longest
        return after <= SHARE * elapsed_seconds and after + last <= SHARE * total_seconds

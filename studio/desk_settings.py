"""The desk's verbs about the studio itself: tokens of services outside, the largest upload."""

from collections.abc import Callable
from typing import Any

from studio import tokens
from studio.errors import RefusedInput
from studio.paths import Workspace

UPLOAD_LIMIT = "upload_limit"
"""Preference: {"bytes": n}."""
LEAST_UPLOAD_BYTES, MOST_UPLOAD_BYTES = 10**6, 10**15


class SettingsDesk:
    """What `Desk` can do with the studio's own settings."""

    workspace: Workspace
    keep_preference: Callable[[str, dict[str, Any]], None]

    def keep_token(self, name: str, value: str) -> None:
        """Keep the token of a service, in the file that only its owner reads.

        Raises:
            RefusedInput: no such service, or no token.
        """
        tokens.keep(self.workspace, name, value)

    def forget_token(self, name: str) -> None:
        tokens.forget(self.workspace, name)

    def limit_uploads(self, size_bytes: int) -> None:
        """Set the largest file that a page takes, for what is uploaded from now on.

        Raises:
            RefusedInput: outside what makes sense.
        """
        if not isinstance(size_bytes, int) or not LEAST_UPLOAD_BYTES <= size_bytes <= MOST_UPLOAD_BYTES:
            raise RefusedInput("server.upload_bounds")
        self.keep_preference(UPLOAD_LIMIT, {"bytes": size_bytes})

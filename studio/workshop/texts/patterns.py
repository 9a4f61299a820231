"""Patterns that both the noise step and the personal-data check look for.

Each comes twice. The rough one (`MAYBE_...`) is for polars' linear-time engine, which sees every text: it must miss
nothing and may find too much. The exact one is for Python's `re`, which sees only the texts that the rough one let
through. No pattern uses a word boundary: Chinese characters count as word characters, so there is none between 邮箱 and
the address that follows.
"""

import re

MAYBE_EMAIL = r"[A-Za-z0-9._%+-]@[A-Za-z0-9-]+\."
EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+/-])"
    r"[A-Za-z0-9](?:[A-Za-z0-9_%+-]|\.(?=[A-Za-z0-9_%+-])){0,63}"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})\.)+[A-Za-z]{2,24}"
    r"(?![A-Za-z0-9@-])"
)

MAYBE_URL = r"(?i)https?://|ftp://|www\."
URL = re.compile(
    r"(?<![A-Za-z0-9])(?:(?:https?|ftp)://|www\.(?=[A-Za-z0-9-]+\.))"
    r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]*[A-Za-z0-9/_=~#%&-]",
    re.IGNORECASE,
)

"""Text from elsewhere as it may be shown: names, paths and servers' words steer no terminal. Knows no markup."""

from __future__ import annotations

import re

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """Return ``text`` without what could steer a terminal or reorder a line: controls become U+FFFD."""
    return _CONTROL.sub("\ufffd", text)

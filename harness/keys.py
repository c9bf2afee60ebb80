"""Keys by content: what is said alike has the same key, on every machine. Knows nothing of what is said."""

from __future__ import annotations

import hashlib
import json


def content_key(said: object) -> str:
    """Return the SHA-256 of a value's canonical JSON, in hex; mappings may have their keys in any order."""
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

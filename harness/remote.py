"""Places that a URL names: file systems of fsspec, told from folders here. Opens them; reads and writes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from harness.errors import HarnessError, problem
from harness.extras import load_extra

EXTRA = "remote"


def is_url(place: str) -> bool:
    """Whether a place is named by a URL that is no ``file:`` one."""
    return "://" in place and not place.startswith("file:")


def local_path(place: str) -> Path:
    """Return the path of a place that is no URL, or a ``file:`` one."""
    return Path(unquote(urlsplit(place).path) if place.startswith("file:") else place).expanduser()


def open_place(url: str) -> tuple[Any, str]:
    """Return the fsspec file system of a URL, which remembers no listing, and the path there without a slash behind it.

    Credentials and endpoints come from the environment, as the store's own clients read them.

    Raises:
        HarnessError: the URL carries credentials, a query or another URL, nothing knows its scheme, or what reaches it
            is not installed.
    """
    parts = urlsplit(url)
    if parts.username or parts.password or parts.query or "::" in url:  # a query may be a signature
        what = "one address, without credentials or query"
        do = "Set credentials in the environment"
        raise HarnessError(problem("URL of a store", what, f"{parts.scheme}://***", do))
    core = load_extra("fsspec.core", EXTRA)
    try:
        filesystem, path = core.url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        do = f"Install it: uv sync --extra {EXTRA}"
        raise HarnessError(problem(url, f"what reaches {parts.scheme}://", str(error), do)) from error
    except ValueError as error:
        do = "Use file://, s3:// or gs://"
        raise HarnessError(problem(url, "a scheme that fsspec knows", str(error), do)) from error
    return filesystem, str(path).rstrip("/")

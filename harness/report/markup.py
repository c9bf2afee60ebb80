"""Elements of HTML and SVG that are escaped by construction; knows no report."""

from __future__ import annotations

import html
from collections.abc import Iterable

from harness.plain import plain

VOID = frozenset({"br", "img", "meta"})


class Markup(str):
    """Text that is markup already; everything else is escaped where it enters an element."""

    __slots__ = ()


def escape(text: str) -> Markup:
    """Return ``text`` as markup that shows it as it is, in an element or in a quoted attribute."""
    return text if isinstance(text, Markup) else Markup(html.escape(plain(text), quote=True))


def join(parts: Iterable[str]) -> Markup:
    """Return the parts one after the other, escaping those that are no markup."""
    return Markup("".join(map(escape, parts)))


def tag(element: str, /, *children: str, **attributes: str | float | bool | None) -> Markup:
    """Return one element.

    Args:
        element: its name; never a reader's text.
        children: markup, or text to be escaped.
        attributes: by name, where ``_`` stands for ``-`` and a last ``_`` is dropped (``class_``). Numbers are rounded
            to a hundredth; True is a bare attribute; None and False leave it out.
    """
    shown = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{_attribute(value)}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    return Markup(f"<{element}{shown}>" if element in VOID else f"<{element}{shown}>{join(children)}</{element}>")


def coordinate(value: float) -> str:
    """Return a number as it stands in a path: to a hundredth, without idle zeros."""
    return f"{value:.2f}".rstrip("0").rstrip(".") or "0"


def _attribute(value: str | float) -> str:
    return escape(value) if isinstance(value, str) else coordinate(value)

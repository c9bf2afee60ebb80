"""The frame that every page stands in: its policy, style, script, heading and sections. Knows no figure."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable

from harness.report.markup import Markup, join, tag
from harness.report.style import asset, style


def page(title: str, *body: str, wide: bool = False) -> str:
    """Return a whole document that needs nothing else: no network, no foreign script; ``wide`` for broad tables.

    A content security policy names the document's own style and script by digest and allows nothing else but pictures
    inside it, so that even a label which slipped through could load or run nothing.
    """
    looks, script = style(), asset("report.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_digest(looks)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", title),
        tag("style", Markup(looks)),
    )
    whole = tag(
        "html", head, tag("body", *body, tag("script", Markup(script)), class_="wide" if wide else None), lang="en"
    )
    return f"<!DOCTYPE html>\n{whole}\n"


def masthead(title: str, subtitle: str, *below: str, above: str = "") -> Markup:
    """Return the heading of a page, between what stands above and below it."""
    words = tag("div", above, tag("h1", title), tag("p", subtitle, class_="subtitle"))
    button = tag("button", "Light / dark", id="scheme", type="button", hidden=True)
    return tag("header", tag("div", tag("div", words, button, class_="masthead"), *below))


def verdict_line(verdict: str) -> Markup:
    """Return a verdict as a line: its word, then its reasons."""
    word, _, reasons = verdict.partition(":")
    return tag(
        "p",
        tag("span", word.strip(), class_="pill"),
        tag("span", reasons.strip(), class_="reasons"),
        class_="verdict" if verdict.startswith("VALID") else "verdict invalid",
    )


def contents(titles: Iterable[str]) -> Markup:
    """Return links to the sections of these titles, in order."""
    links = (tag("a", title, href=f"#section-{place}") for place, title in enumerate(titles, 1))
    return tag("nav", tag("div", *links), aria_label="Sections")


def section(place: int, title: str, intro: str, blocks: Iterable[str]) -> Markup:
    """Return the section at ``place``, counted from 1."""
    inside = tag("div", *blocks, class_="blocks")
    return tag("section", tag("h2", title), prose(intro, "intro"), inside, id=f"section-{place}")


def prose(body: str, class_: str) -> Markup:
    """Return paragraphs, which blank lines part."""
    paragraphs = (paragraph.strip() for paragraph in re.split(r"\n\s*\n", body))
    return join(tag("p", paragraph, class_=class_) for paragraph in paragraphs if paragraph)


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

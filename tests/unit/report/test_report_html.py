import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.plain import plain
from harness.report.html import html
from harness.report.markup import VOID, Markup, join, tag
from harness.report.tree import (
    Column,
    Curves,
    Dendrogram,
    Matrix,
    Pairs,
    Report,
    Scatter,
    Section,
    Sheet,
    Table,
    Text,
    Tile,
)
from harness.stats import Estimate
from harness.stats.clustering import Merge

ELEMENTS = """
html head meta title style body header div h1 p button span ul li nav a main section h2 h3 table caption thead tr th
tbody td figure figcaption svg desc text g rect path line circle dl dt dd img small details summary footer script
"""


class Page(HTMLParser):
    """What a browser would see: elements, attributes, text, and whether every element is closed in order."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.attributes, self.words, self.open = [], [], [], []
        self.raw = {"script": [], "style": []}
        self.feed(text)
        self.close()

    def handle_starttag(self, element, attributes):
        self.elements.append(element)
        self.attributes += [(element, name, value) for name, value in attributes]
        if element not in VOID:
            self.open.append(element)

    def handle_endtag(self, element):
        assert self.open.pop() == element

    def handle_data(self, text):
        if self.open and self.open[-1] in self.raw:
            self.raw[self.open[-1]].append(text)
        else:
            self.words.append(text)

    def handle_comment(self, text):
        raise AssertionError(f"a comment: {text}")

    def values(self, name):
        return [value for _, key, value in self.attributes if key == name]


def labelled(x):
    """A report whose every label is ``x``."""
    some = Estimate(0.9, 0.8, 1.0, 10)
    columns = (Column("a", x), Column("b", x), Column("c", x, "estimate", "high"), Column("d", x, "int"))
    rows = ({"a": x, "b": x, "c": some, "d": x}, {"a": x, "c": Estimate(0.5, 0.4, 0.6, 10)})
    return Report(
        x,
        x,
        x,
        (x,),
        (
            Section(
                x,
                (
                    Text(x),
                    Table("table", x, columns, rows),
                    Table("long", x, columns, rows * 30),
                    Matrix("m", x, (x, x + "2"), (x,), ((some,), (None,)), frozenset({(0, 0)}), x, x, x),
                    Curves("c", x, (x, "b", "c"), {x: (some, None, some)}, x, x),
                    Dendrogram("d", x, (x, x + "2"), (Merge((x,), (x + "2",), 0.5),), x),
                    Scatter("points", x, {x: ((0.0, 1.0), (2.0, 3.0)), "b": ((4.0, 5.0),)}),
                    Sheet("s", x, (Tile(b"png", x, x),)),
                    Pairs("p", ((x, x),), x),
                ),
                x,
            ),
        ),
    )


ATTACKS = [
    "<script>alert(1)</script>",
    "</title></style></script><img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    "<!-- ",
    "]]><![CDATA[",
    "&lt;script&gt;",
    "javascript:alert(1)",
    "{{7*7}} ${7*7}",
    "\x00<\x1b]8;;http://x\x07",
]


class TestInjection:
    @given(st.lists(st.sampled_from(ATTACKS) | st.text(), min_size=1, max_size=3).map(" ".join))
    @example("".join(ATTACKS))
    @settings(max_examples=40, deadline=None)
    def test_a_label_is_never_more_than_text(self, label):
        page, calm = Page(html(labelled(label))), Page(html(labelled("calm")))
        assert set(page.elements) <= set(ELEMENTS.split())
        names, expected = ({name for _, name, _ in seen.attributes} for seen in (page, calm))
        assert names <= expected | {"transform"}
        assert page.raw == calm.raw
        assert page.values("href") == ["#section-1"]
        assert page.open == []

    @given(st.sampled_from(ATTACKS) | st.text("<>&\"'=/ab", min_size=1, max_size=12).map(str.strip).filter(bool))
    @settings(max_examples=20, deadline=None)
    def test_a_label_is_shown_as_it_is(self, label):
        page = Page(html(labelled(label)))
        assert page.words.count(plain(label)) >= 10

    @given(st.text())
    def test_markup_escapes_what_enters_it(self, text):
        page = Page(tag("p", text, Markup("<b>"), title=text).replace("<b>", ""))
        assert "".join(page.words).replace("\r", "\n") == plain(text).replace("\r", "\n")
        assert page.values("title") == [plain(text)]

    def test_only_what_says_so_is_markup(self):
        assert join(["<i>", Markup("<b>")]) == "&lt;i&gt;<b>"
        assert tag("a", hidden=True, title=None, data_v=0.1 + 0.2) == '<a hidden data-v="0.3"></a>'


def test_nothing_is_fetched(large_report):
    text = html(large_report)
    page = Page(text)
    assert all(value.startswith("data:image/png;base64,") for value in page.values("src"))
    assert all(value.startswith("#") for value in page.values("href"))
    assert not re.search(r"url\(|@import|fetch\(|XMLHttp", text)
    assert set(re.findall(r"https?://[^\"\s<]+", text)) == {"http://www.w3.org/2000/svg"}


def test_the_policy_names_the_style_and_the_script(large_report):
    page = Page(html(large_report))
    [policy] = [value for _, name, value in page.attributes if name == "content" and "default-src" in value]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    for kind in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256("".join(page.raw[kind]).encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert not [name for _, name, _ in page.attributes if name == "style" or name.startswith("on")]


def test_the_same_tree_gives_the_same_page(large_report):
    assert html(large_report) == html(large_report)


def test_every_colour_used_is_defined(large_report):
    page = Page(html(large_report))
    used = {name for value in page.values("class") for name in value.split() if re.fullmatch(r"h\d+|hm\d+|s\d", name)}
    assert used
    assert all(f".{name}>rect{{" in page.raw["style"][0] or f".{name}{{" in page.raw["style"][0] for name in used)


def test_thumbnails_are_carried(large_report):
    [sheet] = [block for block in large_report.blocks() if isinstance(block, Sheet)]
    sources = Page(html(large_report)).values("src")
    assert [base64.b64decode(source.partition(",")[2]) for source in sources] == [t.image_png for t in sheet.tiles]


def test_cells_sort_by_their_full_figure():
    page = Page(html(labelled("x")))
    assert "0.9" in page.values("data-v")
    assert page.values("data-first").count("descending") == 2
    assert page.values("scope").count("row") == 62


def test_long_tables_are_folded(large_report):
    page = Page(html(large_report))
    assert page.elements.count("details") == 1
    assert "72 rows" in page.words


@pytest.mark.parametrize(("verdict", "invalid"), [("VALID", 0), ("INVALID: 3 images failed", 1)])
def test_the_verdict_shows(verdict, invalid):
    page = Page(html(Report("t", "s", verdict, (), ())))
    assert verdict.partition(":")[0] in page.words
    assert page.values("class").count("verdict invalid") == invalid

import math

import pytest

from harness.report import kept, render
from harness.report.tree import Column, Report, Section, Table, Text


def test_a_kept_report_renders_to_the_same_bytes(large_report: Report) -> None:
    found = kept.load(kept.dump((large_report, ("a reason",))))
    assert found is not None
    assert render(found[0]) == render(large_report)
    assert found[1] == ("a reason",)


@pytest.mark.parametrize("value", [3, 3.0, "3", None, math.inf, -0.0])
def test_cells_keep_their_type(value: object) -> None:
    table = Table("t", "T", (Column("c", "C"),), ({"c": value},))  # type: ignore[dict-item]
    report = Report("t", "s", "VALID", (), (Section("s", (Text("x"), table)),))
    found = kept.load(kept.dump((report, ())))
    assert found is not None
    cell = found[0].sections[0].blocks[1].rows[0]["c"]  # type: ignore[union-attr]
    assert (type(cell), repr(cell)) == (type(value), repr(value))


@pytest.mark.parametrize("content", [b"", b"{}", b"[1, 2]", b"\xff"])
def test_anything_else_is_none(content: bytes) -> None:
    assert kept.load(content) is None

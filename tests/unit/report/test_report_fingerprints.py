"""Lineage, gallery and gray experiment as readers see them."""

import io

import numpy as np
import pytest
from PIL import Image

from harness.fingerprints.bank import Bank
from harness.fingerprints.spectrum import Peak
from harness.report import render
from harness.report.detection import TaskResult, detection_sections
from harness.report.gallery import gallery_section, pictured, told
from harness.report.gray import gray_section
from harness.report.lineage import lineage_sections
from harness.report.tree import Dendrogram, Matrix, Report, Section, Sheet, Table, Text
from harness.tasks.gray import History
from harness.tasks.lineage import trace
from tests.unit.detections import Made, detection

NAMES = ("a", "b", "c", "a1")
PARENTS = {"a1": "a"}
AUROC = {row: {column: 0.9 if row[0] == column[0] else 0.55 for column in NAMES} for row in NAMES}


def bank(side: int = 32) -> Bank:
    """Return fingerprints of noise with a part in common, and a checkerboard in the first."""
    random = np.random.default_rng(0)
    patterns = random.normal(0, 1, (3, side, side)) + random.normal(0, 1, (len(NAMES), 3, side, side))
    patterns[0] += (-1.0) ** np.add(*np.mgrid[:side, :side])
    low, high = np.zeros(len(NAMES), np.float32), np.ones(len(NAMES), np.float32)
    return Bank(NAMES, patterns.astype(np.float32), low, high)


def figures(**task: object):
    return detection([Made("dif.x", (name,), row, head=name) for name, row in AUROC.items()], **task)


def sections(banks, parents=PARENTS):
    found = figures(lineage=parents, gallery=True)
    result = TaskResult(found, None, (), (), lineages=trace(found, parents, 0), banks=banks)
    return list(detection_sections(result, many=True))


def titled(found, title):
    (section,) = [item for item in found if item.title == title]
    return section


def words(section: Section) -> str:
    return " ".join(block.body for block in section.blocks if isinstance(block, Text))


def size(png: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(png)).size


@pytest.mark.parametrize("banks", [{"dif.x": bank()}, {}], ids=["with fingerprints", "without"])
@pytest.mark.parametrize("parents", [PARENTS, {}], ids=["children", "no children"])
def test_every_format_shows_them(banks, parents):
    files = render(Report("t", "", "VALID", (), tuple(sections(banks, parents))))
    for name in ("report.md", "report.html"):
        assert "toy: Lineage by dif" in files[name]
        assert "toy: Gallery of fingerprints" in files[name]
        assert "nan" not in files[name]
    assert files["report.html"].count("data:image/png") == (len(NAMES) if banks else 0)


class TestLineage:
    def test_children_come_first_with_their_test(self):
        section = titled(sections({}), "toy: Lineage by dif")
        verdict, table, matrix, tree, missing = section.blocks
        assert isinstance(verdict, Text)
        assert "1 of 1 are nearest to their own" in verdict.body
        assert "Of 3 ways to name the parents among 3 bases a share of 0.3333" in verdict.body
        assert isinstance(table, Table)
        assert table.rows[0]["rank"] == 1
        assert str(table.rows[0]["ranking"]).startswith("a 0.900, ")
        assert isinstance(matrix, Matrix)
        assert matrix.diagonal == {(i, i) for i in range(4)}
        assert isinstance(tree, Dendrogram)
        assert isinstance(missing, Text)
        assert "No fingerprints at hand" in missing.body

    def test_fingerprints_are_held_against_each_other_with_a_warning(self):
        section = titled(sections({"dif.x": bank()}), "toy: Lineage by dif")
        assert "do not test lineage" in words(section)
        matrices = [block for block in section.blocks if isinstance(block, Matrix)]
        assert len(matrices) == 3
        assert {block.row_labels for block in matrices} == {matrices[0].row_labels}
        assert [block.values[0][0].value for block in matrices[1:]] == pytest.approx([1, 1])
        table = next(block for block in section.blocks if isinstance(block, Table))
        assert {"direct", "centred"} <= table.rows[0].keys()

    def test_without_children_there_is_neither_test_nor_table(self):
        section = titled(sections({}, {}), "toy: Lineage by dif")
        assert [type(block) for block in section.blocks] == [Matrix, Dendrogram, Text]

    def test_without_detectors_it_says_what_it_needs(self):
        (section,) = lineage_sections((), {}, "toy", "")
        assert "Needs an architecture, or a bank" in words(section)


class TestGallery:
    def test_every_fingerprint_is_shown_once_a_bank(self):
        section = gallery_section({"dif.x": bank()}, ["dif.x", "dif.x@served", "dif.y"], "toy", "")
        sheet, missing = section.blocks
        assert isinstance(sheet, Sheet)
        assert [tile.caption for tile in sheet.tiles] == list(NAMES)
        assert sheet.tiles[0].detail.startswith("(0.5, 0.5) ")
        assert isinstance(missing, Text)
        assert missing.body.endswith(": dif.y.")

    @pytest.mark.parametrize(
        ("side", "wanted"), [(32, (32, 64)), (128, (128, 256)), (160, (128, 208)), (256, (128, 256))]
    )
    def test_pictures_are_small(self, side, wanted):
        random = np.random.default_rng(1)
        assert size(pictured(random.normal(0, 1, (3, side, side)), random.random((side, side)))) == wanted

    def test_no_peak_is_lost_in_a_smaller_picture(self):
        spectrum = np.zeros((256, 256))
        spectrum[77, 201] = 1.0
        shown = np.asarray(Image.open(io.BytesIO(pictured(np.zeros((3, 256, 256)), spectrum))))
        assert shown[128 + 77 // 2, 201 // 2].tolist() == [255, 255, 255]

    def test_peaks_in_words(self):
        assert told([Peak(0.5, -0.125, 12.345)]) == "(0.5, -0.125) 12.3x"
        assert told([]) == "no peak"


class TestGray:
    def section(self, many: bool = False) -> Section:
        board = (-1.0) ** np.add(*np.mgrid[:32, :32])
        noise = np.random.default_rng(0).normal(0, 0.02, (3, 32, 32))
        outputs = np.stack([strength * board + noise for strength in (0.5, 0.0)])
        losses = np.array([((0.5 * output) ** 2).mean() for output in outputs], np.float32)
        return gray_section(History("nearest", 8, 0, (0, 1), outputs.astype(np.float16), losses), "gray", many)

    def test_says_what_was_there_and_what_is_left(self):
        section = self.section()
        assert "repeating pixels before a convolution" in section.intro
        assert "has no peak of more than 4 times the background" in section.intro
        peaks = section.blocks[-1]
        assert isinstance(peaks, Table)
        assert [row["step"] for row in peaks.rows] == [0, 1]
        assert (peaks.rows[0]["x"], peaks.rows[0]["y"]) == (0.5, 0.5)
        assert "x" not in peaks.rows[1]

    def test_every_format_shows_it(self):
        files = render(Report("t", "", "VALID", (), (self.section(many=True),)))
        assert "gray: Gray" in files["report.md"]
        assert files["report.html"].count("data:image/png") == 2
        assert "nan" not in files["report.md"]

"""The miniature's other roots: which generators and photographs each has, and that splits stay apart."""

from pathlib import Path

import pytest
from PIL import Image as PILImage

from harness.data import miniature, open_dataset
from harness.data.miniature import corpus as building
from harness.data.miniature.contents import ATTRIBUTION, Content
from harness.data.miniature.designs import DESIGNS, FAMILIES, PARENTS
from harness.data.miniature.photographs import PHOTOGRAPHS, tier
from harness.events import Silent
from harness.spec.suite import MINIATURES, DataSpec

FEW = Content(
    tuple(item for item in PHOTOGRAPHS if item.name == "brick"), "", ("skip", "diffusion_once", "gan_child1"), side=192
)
"""A corpus small enough to build twice, of none of the usual generators or sides."""


def test_designs_cover_every_generator_and_every_family() -> None:
    shipped = {Path(item.name).stem for item in Path(building.__file__).with_name("generators").iterdir()}
    assert shipped == set(DESIGNS)
    assert ATTRIBUTION[: len(miniature.GENERATORS)] == miniature.GENERATORS
    families = [DESIGNS[name].family for name in ATTRIBUTION]
    assert [families.count(family) for family in FAMILIES] == [6, 3, 2, 2]
    assert len(families) == 13
    for choice in ("up", "norm", "nonlinearity", "loss", "skip"):
        assert len({getattr(DESIGNS[name], choice) for name in ATTRIBUTION}) >= 2


def test_each_root_has_its_own_generators_and_key() -> None:
    contents = miniature.CONTENTS
    assert contents["attribution"].generators == contents["attribution_192"].generators == ATTRIBUTION
    assert contents["lineage"].generators == (*miniature.GENERATORS, *PARENTS)
    assert contents["lineage"].photographs == contents["attribution"].photographs == PHOTOGRAPHS
    assert contents["reference"].generators == ()
    assert len({miniature.version_key(content) for content in contents.values()}) == len(contents) == len(MINIATURES)


def test_a_key_depends_on_photographs_generators_and_side() -> None:
    few = Content(FEW.photographs, "", FEW.generators[:2], side=192)
    smaller = Content(FEW.photographs, "", FEW.generators, side=188)
    others = Content(PHOTOGRAPHS[:1], "", FEW.generators, side=192)
    assert len({miniature.version_key(item) for item in (FEW, few, smaller, others)}) == 4


@pytest.mark.parametrize(
    ("root", "counts"),
    [
        ("attribution", {"train": 393, "val": 34, "test": 45}),
        ("reference", {"train": 302}),
        ("attribution_192", {"test": 46}),
    ],
)
def test_splits_share_no_photograph(root: str, counts: dict[str, int]) -> None:
    content = miniature.CONTENTS[root]
    shown = {split: list(tier(split, content.photographs, content.side)) for split in ("train", "val", "test")}
    assert {split: len(crops) for split, crops in shown.items() if crops} == counts
    names = [{crop.name.split("-")[0] for crop in crops} for crops in shown.values()]
    assert not names[0] & names[1] | names[0] & names[2] | names[1] & names[2]
    assert {crop.pixels.shape for crops in shown.values() for crop in crops} == {(content.side, content.side, 3)}


def test_the_reference_is_what_the_generators_learned_from_and_in_no_split() -> None:
    kept = {item.name for item in PHOTOGRAPHS if item.tier == "generator"}
    assert {item.name for item in miniature.CONTENTS["reference"].photographs} == kept
    for root, content in miniature.CONTENTS.items():
        shown = {item.name for item in content.photographs if item.tier != "generator"}
        assert shown.isdisjoint(kept) or root == "reference"


def test_a_corpus_is_the_same_twice(tmp_path: Path) -> None:
    first, second = (miniature.build(tmp_path / folder, content=FEW) for folder in ("a", "b"))
    found = list(miniature.find(first, generators=FEW.generators))
    assert {item.subset for item in found} == {"nature", *FEW.generators}
    assert len(found) == 4 * len(list(tier("val", FEW.photographs, 192)))
    for item in found:
        assert (first / item.path).read_bytes() == (second / item.path).read_bytes()
        with PILImage.open(first / item.path) as picture:
            assert picture.size == (192, 192)


def test_a_suite_gets_the_reference_though_it_trains_nothing(out: Path) -> None:
    spec = DataSpec(layout="miniature", root="reference")
    data = open_dataset("real", spec, Path(), out / "manifests", Silent())
    assert {(info.split, info.subset, info.label): info.count for info in data.subsets()} == {
        ("train", "nature", 0): 302
    }
    assert data.note == miniature.CONTENTS["reference"].note


def test_an_unknown_root_is_refused() -> None:
    with pytest.raises(ValueError, match="one of other, attribution, attribution_192, lineage, reference, not 'atlas'"):
        DataSpec(layout="miniature", root="atlas")

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image as PILImage

from harness.data import open_dataset
from harness.data.layouts import Found, genimage, imagenet, table, wnids
from harness.data.sample import REAL, Dataset, Sample
from harness.errors import DataError
from harness.events import Silent
from harness.spec.suite import DataSpec

TENCH, GOLDFISH, TOILET_TISSUE = "n01440764", "n01443537", "n15075141"


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    PILImage.new("RGB", (8, 8), len(path.name)).save(path, "png")
    return path


def flat(root: Path, count: int = 3) -> Path:
    """The validation set as it unpacks: numbered files without a class."""
    for number in range(count, 0, -1):
        picture(root / f"ILSVRC2012_val_{number:08}.JPEG")
    return root


def targets(root: Path) -> dict[str, int | None]:
    return {item.path: item.target for item in imagenet(root)}


def opened(root: Path, layout: str = "imagenet") -> Dataset:
    return open_dataset("d", DataSpec(layout=layout, root=str(root)), root.parent, root.parent / "cache", Silent())


def rows(data: Dataset) -> list[Sample]:
    return [row for info in data.subsets() for row in data.samples(info.subset, info.split)]


def test_a_thousand_classes_in_the_order_of_their_ids() -> None:
    ids = wnids()
    assert len(ids) == len(set(ids)) == 1000
    assert list(ids) == sorted(ids)
    assert (ids[0], ids[1], ids[-1]) == (TENCH, GOLDFISH, TOILET_TISSUE)
    assert all(len(wnid) == 9 and wnid[0] == "n" and wnid[1:].isdigit() for wnid in ids)


def test_class_folders(tmp_path: Path) -> None:
    picture(tmp_path / TENCH / "a.JPEG")
    picture(tmp_path / TOILET_TISSUE / "deeper" / "b.JPEG")
    (tmp_path / TENCH / "notes.txt").write_text("no image")
    found = list(imagenet(tmp_path))
    first = f"{TENCH}/a.JPEG"
    assert found[0] == Found(first, REAL, "imagenet", "test", first, 0)
    assert [(item.path, item.target) for item in found[1:]] == [(f"{TOILET_TISSUE}/deeper/b.JPEG", 999)]


def test_val_is_tested_and_train_is_not(tmp_path: Path) -> None:
    picture(tmp_path / "val" / TENCH / "a.JPEG")
    picture(tmp_path / "train" / GOLDFISH / f"{GOLDFISH}_1.JPEG")
    assert [(item.path, item.split, item.target) for item in imagenet(tmp_path)] == [
        (f"train/{GOLDFISH}/{GOLDFISH}_1.JPEG", "train", 1),
        (f"val/{TENCH}/a.JPEG", "test", 0),
    ]


def test_names_that_start_with_the_id(tmp_path: Path) -> None:
    picture(tmp_path / f"{TENCH}_tench.JPEG")
    picture(tmp_path / f"{TOILET_TISSUE}.JPEG")
    assert targets(tmp_path) == {f"{TENCH}_tench.JPEG": 0, f"{TOILET_TISSUE}.JPEG": 999}


def test_a_folder_goes_before_a_files_name(tmp_path: Path) -> None:
    picture(tmp_path / TENCH / f"{GOLDFISH}_1.JPEG")
    assert list(targets(tmp_path).values()) == [0]


@pytest.mark.parametrize("below", ["", "val"])
def test_a_label_file_of_ids_in_the_order_of_the_files(tmp_path: Path, below: str) -> None:
    flat(tmp_path / below)
    (tmp_path / "synsets.txt").write_text(f"{TOILET_TISSUE}\n{TENCH}\n{GOLDFISH}\n")
    assert list(targets(tmp_path).values()) == [999, 0, 1]
    assert [Path(name).stem[-1] for name in targets(tmp_path)] == ["1", "2", "3"]


SOLUTION = f"""\
ImageId,PredictionString
ILSVRC2012_val_00000003,{TENCH} 85 1 499 272
ILSVRC2012_val_00000001,{GOLDFISH} 131 0 499 254 {GOLDFISH} 1 2 3 4
ILSVRC2012_val_00000002,{TOILET_TISSUE} 0 0 1 1
"""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("LOC_val_solution.csv", SOLUTION),
        ("labels.txt", SOLUTION.replace(",", ".JPEG ")),
        ("labels.csv", SOLUTION + f"ILSVRC2012_val_00000009,{TENCH} 0 0 1 1\n"),
    ],
    ids=["kaggle", "names with suffix", "more than there are"],
)
def test_a_label_file_of_names(tmp_path: Path, name: str, text: str) -> None:
    flat(tmp_path / "val")
    (tmp_path / name).write_text(text)
    assert list(targets(tmp_path).values()) == [1, 999, 0]


def test_a_file_that_does_not_fit_is_passed_over(tmp_path: Path) -> None:
    flat(tmp_path)
    (tmp_path / "LOC_synset_mapping.txt").write_text("".join(f"{wnid} a name\n" for wnid in wnids()[:3]))
    (tmp_path / "readme.txt").write_text("three images\n")
    (tmp_path / "synsets.txt").write_text(f"{TENCH}\n" * 3)
    assert list(targets(tmp_path).values()) == [0, 0, 0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "490\n361\n171\n",
        f"{TENCH}\n{GOLDFISH}\n",
        f"{TENCH}\n" * 4,
        SOLUTION.replace("00000002", "00000004"),
    ],
    ids=["empty", "numbers of the development kit", "too few", "too many", "a name is missing"],
)
def test_a_wrong_label_file_says_what_fits(tmp_path: Path, text: str) -> None:
    flat(tmp_path)
    (tmp_path / "ILSVRC2012_validation_ground_truth.txt").write_text(text)
    with pytest.raises(DataError, match=r"a label file that fits, got neither.*numbers classes in its own order"):
        list(imagenet(tmp_path))


@pytest.mark.parametrize("make", [lambda root: picture(root / "n00000001" / "x.JPEG"), lambda root: flat(root, 1)])
def test_an_unknown_id_is_refused(tmp_path: Path, make) -> None:  # type: ignore[no-untyped-def]
    make(tmp_path)
    (tmp_path / "synsets.txt").write_text("n00000001\n")
    with pytest.raises(DataError, match=r"JPEG: expected one of ImageNet's 1,000 classes, got 'n00000001'"):
        list(imagenet(tmp_path))


def test_an_empty_root_says_what_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"as imagenet: expected n01440764/\*.*an empty folder"):
        list(imagenet(tmp_path))
    picture(tmp_path / TENCH / "a.JPEG")
    with pytest.raises(DataError, match="Did you mean layout: imagenet"):
        list(genimage(tmp_path))


def test_targets_reach_the_manifest(tmp_path: Path) -> None:
    picture(tmp_path / "images" / TENCH / "a.JPEG")
    picture(tmp_path / "images" / TOILET_TISSUE / "b.JPEG")
    data = opened(tmp_path / "images")
    assert [(row.path, row.target, row.subset, row.label) for row in rows(data)] == [
        (f"{TENCH}/a.JPEG", 0, "imagenet", REAL),
        (f"{TOILET_TISSUE}/b.JPEG", 999, "imagenet", REAL),
    ]


def test_another_target_is_another_digest(tmp_path: Path) -> None:
    root = flat(tmp_path / "images")
    digests = []
    for wnid in (TENCH, GOLDFISH, TENCH):
        (root / "synsets.txt").write_text(f"{TENCH}\n{TENCH}\n{wnid}\n")
        data = opened(root)
        digests.append(data.digest)
        assert rows(data)[2].target == wnids().index(wnid)
    assert digests[0] == digests[2] != digests[1]


def test_a_tables_targets(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,label,subset,class\na.png,0,x,7\nb.png,0,x,\nc.png,0,x,0\n")
    assert [item.target for item in table(tmp_path / "m.csv", {"target": "class"})] == [7, None, 0]
    assert [item.target for item in table(tmp_path / "m.csv")] == [None] * 3
    said = {"path": ["a", "b"], "label": [0, 0], "subset": ["x", "x"], "target": pa.array([3, None], pa.int16())}
    pq.write_table(pa.table(said), tmp_path / "m.parquet")
    assert [item.target for item in table(tmp_path / "m.parquet")] == [3, None]


def test_a_tables_targets_reach_the_manifest(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    digests = set()
    for target in ("4", "5", ""):
        (tmp_path / "m.csv").write_text(f"path,label,subset,target\na.png,0,x,{target}\nb.png,0,x,1\n")
        data = opened(tmp_path / "m.csv", "manifest")
        assert [row.target for row in rows(data)] == [int(target) if target else None, 1]
        digests.add(data.digest)
    assert len(digests) == 3


@pytest.mark.parametrize("target", ["-1", "tench", "1.5", "2147483648", "nan", TENCH])
def test_a_tables_nonsense_is_refused_with_its_line(tmp_path: Path, target: str) -> None:
    (tmp_path / "m.csv").write_text(f"path,label,subset,target\na.png,0,x,1\nb.png,0,x,{target}\n")
    with pytest.raises(DataError, match=rf"m.csv:3: target: expected the index of a class, got '{target}'"):
        list(table(tmp_path / "m.csv"))

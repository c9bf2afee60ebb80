from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image as PILImage

from harness.data import layouts, open_dataset, reals_for
from harness.data.sample import FAKE, REAL
from harness.errors import DataError, ImageError
from harness.events import Silent
from harness.spec.suite import DataSpec


def picture(path: Path, value: int = 0, codec: str = "png") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    PILImage.fromarray(np.full((8, 9, 3), value, np.uint8)).save(path, codec)
    return path


def genimage(root: Path) -> Path:
    for folder in ("Midjourney/imagenet_midjourney", "stable_diffusion_v_1_4/imagenet_ai_0419_sdv4", "BigGAN"):
        for split in ("train", "val"):
            for kind in ("ai", "nature"):
                for index in range(3):
                    picture(root / folder / split / kind / f"{index}.png", index)
    return root


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("ai/033_sdv4_00137.png", 33),
        ("ai/112_midjourney_23.png", 112),
        ("ai/GLIDE_1000_200_00_109_glide_00035.png", 109),
        ("ai/0_adm_103.PNG", 0),
        ("ai/picture.png", None),
        ("nature/n01440764_10026.JPEG", 0),
        ("nature/n15075141_9.JPEG", 999),
        ("nature/ILSVRC2012_val_00000612.JPEG", None),
    ],
)
def test_genimage_names_tell_classes(tmp_path: Path, name: str, target: int | None) -> None:
    path = tmp_path / "ADM" / "train" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    (found,) = layouts.genimage(tmp_path)
    assert found.target == target


def test_genimage_as_downloaded(tmp_path: Path) -> None:
    found = list(layouts.genimage(genimage(tmp_path)))
    assert len(found) == 36
    assert {item.subset for item in found if item.label == FAKE} == {"midjourney", "sd14", "biggan"}
    assert {item.subset for item in found if item.label == REAL} == {
        "nature:midjourney",
        "nature:sd14",
        "nature:biggan",
    }
    assert {item.split for item in found} == {"train", "test"}


def test_real_fake_with_one_class_splits_and_own_root(tmp_path: Path) -> None:
    picture(tmp_path / "a" / "one" / "0_real" / "x.png")
    picture(tmp_path / "a" / "one" / "1_fake" / "x.png")
    picture(tmp_path / "a" / "two" / "fake" / "deeper" / "x.png")
    (tmp_path / "a" / "one" / "1_fake" / "notes.txt").write_text("no image")
    found = list(layouts.real_fake(tmp_path / "a"))
    assert [(item.subset, item.label) for item in found] == [("one", FAKE), ("nature:one", REAL), ("two", FAKE)]
    picture(tmp_path / "b" / "train" / "one" / "real" / "x.png")
    assert [item.split for item in layouts.real_fake(tmp_path / "b")] == ["train"]
    assert [item.subset for item in layouts.real_fake(tmp_path / "a" / "one")] == ["one", "nature:one"]


def test_a_wrong_layout_names_the_right_one(tmp_path: Path) -> None:
    picture(tmp_path / "one" / "fake" / "x.png")
    with pytest.raises(DataError, match="Did you mean layout: real_fake"):
        list(layouts.genimage(tmp_path))
    with pytest.raises(DataError, match="Check the path"):
        list(layouts.genimage(tmp_path / "nowhere"))


def test_links_out_of_the_root_are_left_out(tmp_path: Path) -> None:
    secret = picture(tmp_path / "secret.png")
    picture(tmp_path / "root" / "s" / "fake" / "x.png")
    (tmp_path / "root" / "s" / "fake" / "y.png").symlink_to(secret)
    assert [item.path for item in layouts.real_fake(tmp_path / "root")] == ["s/fake/x.png"]


def write_table(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_of_paths(tmp_path: Path) -> None:
    file = write_table(tmp_path / "m.csv", "file,label,subset\na.png,fake,sd14\nb.png,0,nature\n")
    found = list(layouts.table(file, {"path": "file"}))
    assert [(item.path, item.label, item.split) for item in found] == [("a.png", 1, "test"), ("b.png", 0, "test")]
    pq.write_table(pa.table({"path": ["a"], "label": [1], "subset": ["x"], "source": ["s"]}), tmp_path / "m.parquet")
    assert next(layouts.table(tmp_path / "m.parquet")).source == "s"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("../a.png,1,x,test", "m.csv:2: expected a path inside"),
        ("/etc/passwd,1,x,test", "inside its folder"),
        ("a.png,maybe,x,test", "m.csv:2: label"),
        ("a.png,1,,test", "expected a subset"),
        ("a.png,1,x,all", "m.csv:2: split"),
    ],
)
def test_bad_rows_name_their_line(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(layouts.table(write_table(tmp_path / "m.csv", f"path,label,subset,split\n{row}\n")))


def test_a_folder_becomes_a_data_set(tmp_path: Path) -> None:
    root = genimage(tmp_path / "root")
    (root / "BigGAN" / "val" / "ai" / "broken.png").write_bytes(b"")
    picture(root / "BigGAN" / "val" / "ai" / "photo.png", 5, "jpeg")
    spec = DataSpec(layout="genimage", root=str(root))
    data = open_dataset("d", spec, tmp_path, tmp_path / "cache", Silent())
    samples = {Path(item.path).name: item for item in data.samples("biggan", "test")}
    assert samples["photo.png"].format == "jpeg"
    assert samples["photo.png"].jpeg_quality == 75
    assert samples["broken.png"].format == "unknown"
    assert (samples["0.png"].width, samples["0.png"].height) == (9, 8)
    assert data.read(samples["0.png"]).startswith(b"\x89PNG")
    assert next(info.count for info in data.subsets() if (info.subset, info.split) == ("biggan", "test")) == 5
    (root / samples["0.png"].path).unlink()
    with pytest.raises(ImageError, match="readable"):
        data.read(samples["0.png"])
    again = open_dataset("d", spec, tmp_path, tmp_path / "cache", Silent())
    assert again.digest != data.digest


def test_sampling_is_seeded_nested_and_in_order(tmp_path: Path) -> None:
    for index in range(30):
        picture(tmp_path / "root" / "s" / "fake" / f"{index:02}.png", index)
    spec = DataSpec(layout="real_fake", root=str(tmp_path / "root"))
    data = open_dataset("d", spec, tmp_path, tmp_path / "cache", Silent())
    ten = [item.path for item in data.samples("s", "test", 10, seed=1)]
    assert ten == [item.path for item in data.samples("s", "test", 10, seed=1)]
    assert ten == sorted(ten)
    assert len(ten) == 10
    assert {item.path for item in data.samples("s", "test", 4, seed=1)} < set(ten)
    assert ten != [item.path for item in data.samples("s", "test", 10, seed=2)]
    assert len(list(data.samples("s", "test", 99))) == 30


def test_the_digest_does_not_depend_on_place_or_time(tmp_path: Path) -> None:
    digests = set()
    for name in ("a", "b"):
        picture(tmp_path / name / "s" / "fake" / "x.png")
        spec = DataSpec(layout="real_fake", root=name)
        digests.add(open_dataset("d", spec, tmp_path, tmp_path / "cache", Silent()).digest)
    assert len(digests) == 1


def test_reals_for() -> None:
    assert reals_for("a", {"nature:a", "nature:b"}) == ["nature:a"]
    assert reals_for("a", {"nature", "nature:b"}) == ["nature"]
    assert reals_for("a", {"nature:c", "nature:b"}) == ["nature:b", "nature:c"]
    assert reals_for("a", set()) == []


def test_huggingface_rows_are_read_as_stored(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="the extra `datasets` is not installed")
    data = picture(tmp_path / "x.png").read_bytes()
    rows = {
        "image": [{"bytes": data, "path": None}] * 4,
        "label": [0, 1, 1, 0],
        "subset": ["nature", "g", "g", "nature"],
    }
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.Value("int64"), "subset": datasets.Value("string")}
    )
    datasets.DatasetDict({"test": datasets.Dataset.from_dict(rows, features=features)}).save_to_disk(tmp_path / "hf")
    spec = DataSpec(layout="huggingface", root=str(tmp_path / "hf"))
    opened = open_dataset("d", spec, tmp_path, tmp_path / "cache", Silent())
    assert [(info.subset, info.count) for info in opened.subsets()] == [("g", 2), ("nature", 2)]
    assert opened.read(next(opened.samples("g", "test"))) == data

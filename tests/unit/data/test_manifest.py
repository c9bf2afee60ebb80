import hashlib
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage

from harness.data import manifest as manifests
from harness.data import open_dataset
from harness.data.folder import FolderDataset
from harness.data.layouts import Found
from harness.data.manifest import Manifest, write_manifest
from harness.data.sample import Sample
from harness.errors import DataError, ImageError
from harness.events import Silent
from harness.spec.suite import DataSpec

COUNT = 12


def found(count: int = COUNT, label: int = 1) -> list[Found]:
    return [Found(f"{index:03}.png", label, "gan", "test", f"s{index % 3}") for index in range(count)]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    path = tmp_path_factory.mktemp("manifest") / "m.parquet"
    write_manifest(path, iter(found(40)), lambda _: b"", lambda _: None)
    return Manifest(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for kind in ("real", "fake"):
        folder = tmp_path / "images" / kind
        folder.mkdir(parents=True)
        for index in range(3):
            pixels = random.integers(0, 256, (20, 30, 3), np.uint8)
            PILImage.fromarray(pixels).save(folder / f"{index}.jpg", quality=80 + index)
    return tmp_path


def opened(root: Path) -> FolderDataset:
    data = open_dataset("d", DataSpec(layout="real_fake", root="images"), root, root / "cache", Silent())
    assert isinstance(data, FolderDataset)
    return data


def paths(of: Manifest, limit: int | None = None, seed: int = 0) -> list[str]:
    return [row.path for row in of.samples("gan", "test", limit, seed)]


def test_rows_say_what_the_files_are(root: Path) -> None:
    data = opened(root)
    rows = [row for info in data.subsets() for row in data.samples(info.subset, info.split)]
    assert len(rows) == 6
    for row in rows:
        content = (data.root / row.path).read_bytes()
        assert (row.sha256, row.bytes) == (hashlib.sha256(content).hexdigest(), len(content))
        assert (row.width, row.height, row.format) == (30, 20, "jpeg")
        assert row.jpeg_quality == 80 + int(Path(row.path).stem)
        assert row.label == ("fake" in row.path)


def test_a_damaged_file_is_a_row_all_the_same(root: Path) -> None:
    (root / "images" / "fake" / "1.jpg").write_bytes(b"")
    data = opened(root)
    (row,) = [row for info in data.subsets() for row in data.samples(info.subset, info.split) if row.bytes == 0]
    assert (row.path.rpartition("/")[2], row.format, row.width) == ("1.jpg", "unknown", 0)


def test_an_unchanged_folder_is_read_once_and_a_changed_one_again(root: Path) -> None:
    first = opened(root)
    stamp = first.manifest.source.stat().st_mtime_ns
    again = opened(root)
    assert (again.digest, again.manifest.source.stat().st_mtime_ns) == (first.digest, stamp)
    PILImage.new("RGB", (30, 20)).save(root / "images" / "fake" / "1.jpg")
    assert opened(root).digest != first.digest


def test_the_digest_is_of_content_and_label(tmp_path: Path) -> None:
    def digest(items: list[Found], content: bytes = b"x") -> str:
        path = tmp_path / "m.parquet"
        write_manifest(path, iter(items), lambda _: content, lambda _: None)
        return Manifest(path).digest

    same = digest(found())
    assert digest(found()) == same
    changed = [
        [replace(found()[0], **change), *found()[1:]]
        for change in ({"path": "x.png"}, {"subset": "vq"}, {"split": "val"}, {"source": "x"}, {"target": 0})
    ]
    others = [digest(found(label=0)), digest(found(), b"y"), digest(found(COUNT - 1)), *map(digest, changed)]
    assert len({same, *others}) == 9


def test_nothing_is_left_of_a_manifest_that_failed(tmp_path: Path) -> None:
    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_manifest(tmp_path / "m.parquet", iter(found()), lambda _: b"", interrupted)
    assert not list(tmp_path.iterdir())


def test_many_row_groups_stream_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, built: Manifest) -> None:
    monkeypatch.setattr(manifests, "ROWS", 7)
    path = tmp_path / "m.parquet"
    write_manifest(path, iter(found(40)), lambda _: b"", lambda _: None)
    assert pq.read_metadata(path).num_row_groups == 6
    assert Manifest(path).digest == built.digest
    assert list(Manifest(path).samples("gan", "test", 9, 3)) == list(built.samples("gan", "test", 9, 3))


@given(limit=st.integers(1, 45), seed=st.integers(0, 5))
def test_a_larger_sample_holds_the_smaller_one(built: Manifest, limit: int, seed: int) -> None:
    chosen = paths(built, limit, seed)
    assert len(chosen) == len(set(chosen)) == min(limit, 40)
    assert chosen == sorted(chosen) == paths(built, limit, seed)
    assert set(chosen) <= set(paths(built, limit + 1, seed))


def test_a_sample_does_not_depend_on_what_else_is_there(tmp_path: Path, built: Manifest) -> None:
    chosen = paths(built, 10)
    rest = [item for item in found(40) if item.path in chosen or int(item.path[:3]) % 2]
    path = tmp_path / "m.parquet"
    write_manifest(path, iter(rest), lambda _: b"", lambda _: None)
    assert paths(Manifest(path), 10) == chosen


def test_seeds_draw_differently(built: Manifest) -> None:
    assert len({tuple(paths(built, 10, seed)) for seed in range(5)}) == 5


def test_reading_stays_below_the_root_and_names_what_is_gone(root: Path) -> None:
    data = opened(root)
    (root / "secret.txt").write_text("x")

    def sample(path: str) -> Sample:
        return Sample(path, "", 0, 0, 0, "png", None, 1, "gan", "test", "s")

    with pytest.raises(ImageError, match="outside the data root") as outside:
        data.read(sample("../secret.txt"))
    with pytest.raises(ImageError, match=r"gone\.png: expected a readable file, got No such file"):
        data.read(sample("gone.png"))
    assert outside.value.reason == "missing"


@pytest.mark.parametrize("quality", [1, 5, 25, 49, 50, 51, 75, 90, 95, 99, 100])
def test_a_jpegs_quality_is_the_one_it_was_written_with(tmp_path: Path, quality: int) -> None:
    folder = tmp_path / "images" / "s" / "fake"
    folder.mkdir(parents=True)
    PILImage.effect_noise((24, 16), 60).convert("RGB").save(folder / "x.jpg", quality=quality)
    (row,) = opened(tmp_path).samples("s", "test")
    assert (row.format, row.jpeg_quality, row.width, row.height) == ("jpeg", quality, 24, 16)


@pytest.mark.parametrize("codec", ["png", "gif", "bmp", "tiff", "webp"])
def test_the_bytes_tell_the_format_and_not_the_name(tmp_path: Path, codec: str) -> None:
    folder = tmp_path / "images" / "s" / "fake"
    folder.mkdir(parents=True)
    PILImage.new("RGB", (24, 16)).save(folder / "x.jpg", codec)
    (row,) = opened(tmp_path).samples("s", "test")
    assert (row.format, row.jpeg_quality, row.width, row.height) == (codec, None, 24, 16)


def test_a_file_that_cannot_be_read_is_a_row_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "gone.csv").write_text("path,label,subset\nhere.png,1,gan\ngone.png,1,gan\nnoise.png,1,gan\n")
    PILImage.new("RGB", (24, 16)).save(tmp_path / "here.png")
    (tmp_path / "noise.png").write_bytes(b"no image at all")
    data = open_dataset("d", DataSpec(layout="manifest", root="gone.csv"), tmp_path, tmp_path / "cache", Silent())
    rows = [(row.path, row.format, row.bytes) for row in data.samples("gan", "test")]
    size = (tmp_path / "here.png").stat().st_size
    assert rows == [("here.png", "png", size), ("gone.png", "unknown", 0), ("noise.png", "unknown", 15)]


def test_a_manifest_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data d: expected a CSV or Parquet file at .*m\.csv, got none"):
        open_dataset("d", DataSpec(layout="manifest", root="m.csv"), tmp_path, tmp_path / "cache", Silent())


def test_a_subset_is_real_or_fake(tmp_path: Path) -> None:
    both = [Found("a.png", 1, "gan", "test", "a"), Found("b.png", 0, "gan", "test", "b")]
    with pytest.raises(DataError, match=r"subset gan of split test: .* both, at b\.png\. .*nature:gan"):
        write_manifest(tmp_path / "m.parquet", iter(both), lambda _: b"", lambda _: None)
    assert not list(tmp_path.iterdir())
    apart = [both[0], replace(both[1], subset="nature:gan"), replace(both[1], split="val")]
    write_manifest(tmp_path / "m.parquet", iter(apart), lambda _: b"", lambda _: None)
    assert [info.count for info in Manifest(tmp_path / "m.parquet").infos] == [1, 1, 1]


def test_a_name_that_is_no_text_is_named(root: Path) -> None:
    name = os.fsencode(root / "images" / "fake") + b"/caf\xe9.png"
    try:
        os.link(root / "images" / "fake" / "1.jpg", name)
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    with pytest.raises(DataError, match=r"caf\\udce9\.png': expected a name in UTF-8, .*Rename the file"):
        opened(root)


def test_many_subsets_in_many_row_groups_are_kept_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "ROWS", 5)
    items = [
        Found(f"{subset}/{split}/{index}", int(subset != "nature"), subset, split, "s")
        for subset, count in (("vq", 7), ("gan", 11), ("nature", 4), ("flöw", 6))
        for split in ("val", "test")
        for index in range(count)
    ]
    path = tmp_path / "m.parquet"
    done: list[int] = []
    write_manifest(path, iter(items), lambda name: name.encode(), done.append, workers=2)
    assert done == [*range(5, 56, 5), 56]
    counted = {(info.subset, info.split): info.count for info in Manifest(path).infos}
    assert sum(counted.values()) == len(items)
    for (subset, split), count in counted.items():
        there = [item.path for item in items if (item.subset, item.split) == (subset, split)]
        assert [row.path for row in Manifest(path).samples(subset, split)] == there
        assert len(there) == count


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(40)), limit=st.integers(1, 39))
def test_a_sample_does_not_depend_on_the_order(tmp_path: Path, built: Manifest, order: list[int], limit: int) -> None:
    items = found(40)
    path = tmp_path / "m.parquet"
    write_manifest(path, iter([items[index] for index in order]), lambda _: b"", lambda _: None)
    assert sorted(paths(Manifest(path), limit)) == paths(built, limit)


def test_an_image_that_stands_twice_does_not_swell_a_sample(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    write_manifest(path, iter([*found(4), *found(4)]), lambda _: b"", lambda _: None)
    assert [len(paths(Manifest(path), limit)) for limit in range(1, 10)] == [1, 2, 3, 4, 5, 6, 7, 8, 8]


def test_a_link_does_not_lead_out_of_the_root(root: Path) -> None:
    (root / "secret.txt").write_text("x")
    (root / "images" / "link").symlink_to(root)
    data = opened(root)
    with pytest.raises(ImageError, match="outside the data root"):
        data.read(Sample("link/secret.txt", "", 0, 0, 0, "png", None, 1, "gan", "test", "s"))
    with pytest.raises(ImageError, match="outside the data root"):
        data.read(Sample(str(root / "secret.txt"), "", 0, 0, 0, "png", None, 1, "gan", "test", "s"))

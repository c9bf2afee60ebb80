"""Splits by a hash of the source, for layouts that have none."""

import csv
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PILImage
from pydantic import ValidationError

from harness.data import open_dataset
from harness.data.layouts import Found
from harness.data.sample import Dataset
from harness.data.splits import assign, split_of
from harness.errors import DataError
from harness.events import Silent
from harness.spec.suite import DataSpec, Splits

SHARES = {"train": 0.6, "val": 0.2, "test": 0.2}

shares = st.tuples(*[st.floats(0.05, 1.0)] * 3).map(
    lambda drawn: Splits(**{name: value / sum(drawn) for name, value in zip(SHARES, drawn, strict=True)})
)


@given(shares, st.lists(st.text(), min_size=1, max_size=30))
def test_a_source_has_one_split_whatever_else_there_is(drawn: Splits, sources: list[str]) -> None:
    found = [Found(f"{number}", 0, "a", "test", source) for number, source in enumerate(sources)]
    together = {item.source: item.split for item in assign("d", found, drawn)}
    assert [item.split for item in assign("d", found, drawn)] == [together[source] for source in sources]
    assert together == {item.source: item.split for one in found for item in assign("d", [one], drawn)}


@given(shares)
def test_shares_hold_roughly(drawn: Splits) -> None:
    counts = Counter(split_of(f"photograph {number}", drawn) for number in range(2000))
    for name in SHARES:
        assert counts[name] / 2000 == pytest.approx(getattr(drawn, name), abs=0.06)


def test_a_greater_share_takes_nothing_from_train() -> None:
    small, large = (
        {n for n in range(500) if split_of(str(n), Splits(train=share, val=0.1, test=0.9 - share)) == "train"}
        for share in (0.3, 0.6)
    )
    assert small < large


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"train": 0.6, "val": 0.2, "test": 0.3}, "splits must sum to 1, not 1.1"),
        ({"train": 1.0, "val": 0.0, "test": 0.0}, "greater than 0"),
        ({"train": 0.8, "test": 0.2}, "val"),
    ],
)
def test_wrong_shares_are_refused(said: dict[str, float], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        DataSpec.model_validate({"layout": "real_fake", "root": "x", "splits": said})


def test_the_miniature_has_its_own() -> None:
    with pytest.raises(ValidationError, match="layout miniature has splits of its own"):
        DataSpec.model_validate({"layout": "miniature", "splits": SHARES})


def pictures(root: Path, count: int = 40) -> Path:
    for kind in ("real", "fake"):
        (root / "set" / kind).mkdir(parents=True)
        for number in range(count):
            pixels = np.full((4, 4, 3), number, np.uint8)
            PILImage.fromarray(pixels).save(root / "set" / kind / f"{number}.png")
    return root


def opened(spec: Mapping[str, object], here: Path) -> Dataset:
    return open_dataset("d", DataSpec.model_validate(spec), here, here / "manifests", Silent())


def splits(data: Dataset) -> dict[str, str]:
    return {sample.path: sample.split for info in data.subsets() for sample in data.samples(info.subset, info.split)}


def test_a_folder_is_split_and_its_manifest_knows(tmp_path: Path) -> None:
    spec: dict[str, object] = {"layout": "real_fake", "root": str(pictures(tmp_path / "p"))}
    whole, parted = opened(spec, tmp_path), opened({**spec, "splits": SHARES}, tmp_path)
    other = opened({**spec, "splits": {"train": 0.2, "val": 0.2, "test": 0.6}}, tmp_path)
    assert set(splits(whole).values()) == {"test"}
    assert set(splits(parted).values()) == set(SHARES)
    assert splits(parted).keys() == splits(whole).keys()
    assert len({whole.digest, parted.digest, other.digest}) == 3
    assert splits(opened({**spec, "splits": SHARES}, tmp_path)) == splits(parted)


def test_images_of_one_source_in_a_table_stay_together(tmp_path: Path) -> None:
    root = pictures(tmp_path / "p")
    with (root / "table.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "subset", "source"])
        for kind, subset in (("real", "nature"), ("fake", "set")):
            rows.writerows([f"set/{kind}/{number}.png", kind, subset, f"photograph {number}"] for number in range(40))
    found = splits(opened({"layout": "manifest", "root": str(root / "table.csv"), "splits": SHARES}, tmp_path))
    for number in range(40):
        assert found[f"set/real/{number}.png"] == found[f"set/fake/{number}.png"]


def test_splits_of_its_own_are_not_overruled(tmp_path: Path) -> None:
    for split in ("train", "test"):
        pictures(tmp_path / "p" / split, 1)
    with pytest.raises(DataError, match=r"data d: splits: expected a listing without .* Leave `splits` out"):
        opened({"layout": "real_fake", "root": str(tmp_path / "p"), "splits": SHARES}, tmp_path)

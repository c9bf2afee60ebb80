"""Attributors from a training file: what they learn, that they go on, and what is refused before anything is made."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image as PILImage

from export.training.attribution_jobs import make_attribution_jobs
from export.training.result import TrainedAttributor
from export.training.run import Asked, train
from export.training.spec import Training
from harness.data.opening import open_dataset
from harness.errors import CardError, DataError, HarnessError, SuiteError
from harness.events import Silent
from harness.repository import load_entry
from harness.spec.suite import DataSpec

SIDE = 32
BOARD = np.indices((SIDE, SIDE)).sum(axis=0) % 2 * 2 - 1
TRACES = {"nature": 0 * BOARD, "board": BOARD, "lines": np.tile([1, -1], (SIDE, SIDE // 2))}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write pictures of two generators and nature, and a reference; each set with a table of its files."""
    folder, random = tmp_path_factory.mktemp("attribution"), np.random.default_rng(5)
    rows: dict[str, list[str]] = {"data": [], "reference": []}

    def write(data: str, split: str, subset: str, count: int) -> None:
        for number in range(count):
            base = np.repeat(np.repeat(random.normal(128, 40, (4, 4, 3)), 8, axis=0), 8, axis=1)
            pixels = base + random.normal(0, 4, (SIDE, SIDE, 3)) + 20 * TRACES[subset][..., None]
            path = f"{data}/{split}-{subset}-{number}.png"
            (folder / data).mkdir(exist_ok=True)
            PILImage.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / path)
            rows[data].append(f"{path},{int(subset != 'nature')},{subset},{split}")

    for split, count in {"train": 16, "val": 6}.items():
        for subset in TRACES:
            write("data", split, subset, count)
    write("reference", "train", "nature", 12)
    for data, lines in rows.items():
        (folder / f"{data}.csv").write_text("\n".join(["path,label,subset,split", *lines, ""]))
    both = [*rows["reference"], rows["data"][0]]
    shutil.copy(folder / "data/train-nature-0.png", folder / "data/test-nature-0.png")
    twice = [*rows["data"], "data/test-nature-0.png,0,nature,test"]
    (folder / "twice.csv").write_text("\n".join(["path,label,subset,split", *twice, ""]))
    (folder / "shared.csv").write_text("\n".join(["path,label,subset,split", *both, ""]))
    return folder


def spec(**more: Any) -> dict[str, Any]:
    return {"data": "d", "scale": "miniature", "side": SIDE, "tag": "t_s{seed}", **more}


def file(root: Path, folder: Path, *attributors: dict[str, Any]) -> Path:
    path = folder / "t.yaml"
    names = {"d": "data", "r": "reference", "shared": "shared", "twice": "twice"}
    said = {
        "name": "t",
        "repository": "repository",
        "check_served": False,
        "data": {key: {"layout": "manifest", "root": str(root / f"{name}.csv")} for key, name in names.items()},
        "attributors": list(attributors),
    }
    path.write_text(yaml.safe_dump(said))
    return path


def trained(path: Path) -> list[TrainedAttributor]:
    done, failed = train(Asked(path, out=path.parent / "out"), Silent())
    assert not failed
    return [item for item in done if isinstance(item, TrainedAttributor)]


def test_attributors_are_trained_entered_and_not_trained_again(root: Path, tmp_path: Path) -> None:
    said = spec(method="manifpt_rgb", reference="r", recipe={"epochs": 6, "batch": 8, "lr": 0.01}, seed=[0, 1])
    path = file(root, tmp_path, said)
    first = trained(path)
    assert [item.name for item in first] == ["manifpt_rgb.t_s0", "manifpt_rgb.t_s1"]
    assert min(item.accuracy for item in first) > 0.9
    values = list((tmp_path / "out" / "representations").glob("*/values.npy"))
    assert len(values) == 1, "seeds share what they are shown"
    card = load_entry(tmp_path / "repository" / "manifpt_rgb.t_s0").card
    assert (card.task, card.classes) == ("attribution", ("board", "lines", "nature"))
    assert (card.represent, len(card.reference)) == ("artifact space=rgb", 64)
    assert card.preprocess.crop == SIDE
    assert card.parity is not None
    written = (first[0].folder / "weights.pt").stat().st_mtime_ns
    shutil.rmtree(values[0].parent)
    shutil.rmtree(first[1].folder)
    again = trained(path)
    assert again[0] == first[0]
    assert (again[0].folder / "weights.pt").stat().st_mtime_ns == written
    assert again[1].accuracy == first[1].accuracy, "trained anew, it is the same"


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        ({"method": "marra20"}, CardError, "method of attribution: expected a known one, got 'marra20'. Did you mean"),
        ({"method": "manifpt_rgb"}, CardError, "artifact space=rgb: expected a reference, got none"),
        ({"method": "manifpt_sl", "reference": "r"}, CardError, "expected an entry 'embedder.mini_sl', got none"),
        ({"method": "wang20", "leave_out": "lime"}, DataError, "got board, lines. Did you mean 'lines'?"),
        ({"method": "wang20", "leave_out": "*"}, DataError, "expected two or more to tell apart, got nature"),
        ({"method": "wang20", "reference": "shared"}, DataError, "expected no image of d, got data/train-nature-0.png"),
        (
            {"method": "wang20", "data": "twice"},
            DataError,
            "twice: images of split test: expected none that is trained on, got 1 shared, data/train-nature-0.png is",
        ),
        ({"method": "wang20", "split": "test"}, DataError, "d, split test: expected two or more"),
        (
            {"method": "wang20", "recipe": {"epochs": 0}},
            CardError,
            "recipe of wang20: epochs: expected 1 or more, got 0",
        ),
        ({"method": "durall20", "recipe": {"crop": 8}}, CardError, "recipe of durall20: crop: expected none, got 8"),
        ({"method": "wang20", "seed": [0, 0]}, CardError, "attributors: expected names used once, got wang20.t_s0"),
    ],
)
def test_what_can_not_be_trained_is_refused_first(
    root: Path, tmp_path: Path, said: dict[str, Any], error: type[HarnessError], words: str
) -> None:
    training = Training.model_validate(yaml.safe_load(file(root, tmp_path, spec(**said)).read_text()))
    data = {
        name: open_dataset(name, item, tmp_path, tmp_path / "manifests", Silent())
        for name, item in training.data.items()
    }
    with pytest.raises(error) as found:
        make_attribution_jobs(training.attributors, data, tmp_path)
    assert words in str(found.value)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"validation": "train"}, "validation images must not be trained on"),
        ({"seed": [0, 1], "tag": "t"}, "needs {seed} in its tag"),
        ({"recipe": {"epoch": 3}}, "an attributor's recipe has no 'epoch'. Did you mean 'epochs'?"),
        ({"recipe": {"lr": 0}}, "recipe lr: Input should be greater than 0, got 0"),
        ({"data": "x"}, "attributors take data 'x', and data names d, r, shared, twice"),
        ({"reference": "x"}, "attributors take data 'x'"),
    ],
)
def test_a_file_that_makes_no_sense_says_where(root: Path, tmp_path: Path, said: dict[str, Any], words: str) -> None:
    with pytest.raises(SuiteError) as found:
        train(Asked(file(root, tmp_path, spec(**said)), out=tmp_path), Silent())
    assert words in str(found.value)


def test_fewer_samples_are_the_same_for_every_seed_and_what_is_left_out_is_not_shown(
    root: Path, tmp_path: Path
) -> None:
    training = Training.model_validate(
        yaml.safe_load(
            file(root, tmp_path, spec(method="wang20", samples=5, leave_out="lines", seed=[0, 1])).read_text()
        )
    )
    data = {"d": open_dataset("d", DataSpec(layout="manifest", root=str(root / "data.csv")), root, tmp_path, Silent())}
    first, second = make_attribution_jobs(training.attributors, data, tmp_path)
    assert first.shown.key == second.shown.key
    assert first.key != second.key
    assert first.sources == ("board", "nature")
    assert (len(first.train), len(first.validation)) == (10, 10)
    assert {first.shown.images[int(row)].subset for row in first.train} == {"board", "nature"}
    assert set(first.targets.tolist()) == {-1, 0, 1}

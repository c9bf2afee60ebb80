"""Classifiers as a user has them: a repository of real graphs, folders of real images, the command line."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image as PILImage
from scipy.special import log_softmax, rel_entr

from harness.card import Card
from harness.data.layouts import wnids
from harness.images.preprocess import Preprocess
from harness.serving import find_tritonserver
from tests.e2e.commands import contents, folder_of, harness, table

onnx = pytest.importorskip("onnx", reason="the extra `export` is not installed")
pytest.importorskip("torch", reason="the extra `export` is not installed")

CLASSES = ("red", "green", "blue", "grey", "yellow", "white")
COLOURS = np.array([[180, 60, 60], [60, 180, 60], [60, 60, 180], [120, 120, 120], [160, 160, 60], [200, 200, 200]])
SIDE, EACH = 12, 8

SUITE = """\
name: classes
description: Six colours, and a classifier of them with rounded weights.
repository: {repository}
data: {{d: {{layout: imagenet, root: {images}}}}}
models:
  - name: colours.*
    variants: {variants}
resamples: 200
tasks:
  - kind: classification
    name: classes
    data: d
    degradations: [none, {{jpeg: {{quality: 20}}}}]
"""


def weights(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Nearest colour as a linear layer; the rounded one keeps three levels a weight."""
    scale = 400
    matrix, bias = 2 * COLOURS / scale, -(COLOURS**2).sum(axis=1) / scale
    if name == "int8":
        matrix = np.round(matrix * 5) / 5
    return matrix.astype(np.float32), bias.astype(np.float32)


def graph(path: Path, name: str) -> Path:
    """Pixels to channel means to scores."""
    helper, of = onnx.helper, onnx.numpy_helper.from_array
    matrix, bias = weights(name)
    nodes = [
        helper.make_node("Cast", ["image"], ["real"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Transpose", ["real"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("GlobalAveragePool", ["planes"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["means"]),
        helper.make_node("Gemm", ["means", "w", "b"], ["score"], transB=1),
    ]
    said = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("image", onnx.TensorProto.UINT8, ["n", SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("score", onnx.TensorProto.FLOAT, ["n", len(CLASSES)])],
        [of(matrix, "w"), of(bias, "b")],
    )
    onnx.save(helper.make_model(said, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of two classifiers, and a folder of images for each class."""
    from export.triton import write_entry

    root = tmp_path_factory.mktemp("classes")
    for name in ("tv_float", "int8"):
        said = Card(
            name=f"colours.{name}",
            task="classification",
            summary=f"Nearest of six colours, {name}",
            classes=CLASSES,
            preprocess=Preprocess(crop=SIDE),
        )
        write_entry(root / "repository", graph(root / f"{name}.onnx", name), said)
    random = np.random.default_rng(1)
    for wnid, colour in zip(wnids(), COLOURS, strict=False):
        folder = root / "images" / "val" / wnid
        folder.mkdir(parents=True)
        for number in range(EACH):
            tint = colour + random.normal(scale=30, size=3)
            pixels = np.clip(tint + random.normal(scale=12, size=(SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
            PILImage.fromarray(pixels).save(folder / f"{number}.png")
    return root


def suite(place: Path, name: str, variants: str, images: str = "images") -> Path:
    path = place / f"{name}.yaml"
    said = SUITE.format(repository=place / "repository", images=place / images, variants=variants)
    path.write_text(said, encoding="utf-8")
    return path


VARIANTS = "{batch1: {batch: 1}, unoptimised: {optimisation: none}}"


@pytest.fixture(scope="module")
def first(place: Path) -> Path:
    return folder_of(harness("run", suite(place, "classes", VARIANTS), "--out", place / "reports"))


@pytest.fixture(scope="module")
def logs(place: Path) -> dict[str, np.ndarray]:
    """What numpy says of the images: log probabilities by model, in the order of the classes' folders."""
    paths = [place / "images" / "val" / wnid / f"{i}.png" for wnid in wnids()[: len(CLASSES)] for i in range(EACH)]
    means = np.array([np.asarray(PILImage.open(path)).reshape(-1, 3).mean(axis=0) for path in paths])
    scores = {name: means @ weights(name)[0].T.astype(float) + weights(name)[1] for name in ("tv_float", "int8")}
    for values in scores.values():
        top = np.sort(values, axis=1)
        assert (top[:, -1] - top[:, -2]).min() > 1e-3, "no decision hangs on a rounding"
    return {name: log_softmax(values, axis=1) for name, values in scores.items()}


TARGETS = np.repeat(np.arange(len(CLASSES)), EACH)


def test_the_leaderboard_is_numpys(first: Path, logs: dict[str, np.ndarray]) -> None:
    board = table(first, "classes_leaderboard").set_index("model")
    assert set(board.index) == {"colours.tv_float", "colours.int8"}, "variants stand in a table of their own"
    for name, said in logs.items():
        row = board.loc[f"colours.{name}"]
        order = np.argsort(-said, axis=1)
        assert row["top1"] == pytest.approx((order[:, 0] == TARGETS).mean())
        assert row["top5"] == pytest.approx((order[:, :5] == TARGETS[:, None]).any(axis=1).mean())
        assert row["nll"] == pytest.approx(-said[np.arange(len(TARGETS)), TARGETS].mean(), rel=1e-5)
        assert (row["images"], row["failed"]) == (len(TARGETS), 0)
        assert 0 < row["ece"] < 0.5
        assert row["top1_low"] < row["top1"] < row["top1_high"]
    assert board["top1"].is_monotonic_decreasing


def test_pairs_are_numpys(first: Path, logs: dict[str, np.ndarray]) -> None:
    pairs = table(first, "classes_pairs")
    assert set(pairs["candidate"]) == {"colours.int8"}
    assert set(pairs["reference"]) == {"colours.tv_float"}
    assert len(pairs) == 1, "other conditions stand among all pairs"
    row = pairs.iloc[0]
    one, other = (logs[name].argmax(axis=1) for name in ("tv_float", "int8"))
    negative, positive = ((one == TARGETS) & (other != TARGETS)).sum(), ((one != TARGETS) & (other == TARGETS)).sum()
    assert min(negative, (one != other).sum() - negative) > 0, "the case shows more than one kind of disagreement"
    assert row["agreement"] == pytest.approx((one == other).mean())
    assert row["negative_flips"] == pytest.approx(negative / len(TARGETS))
    assert row["positive_flips"] == pytest.approx(positive / len(TARGETS))
    assert row["top1_change"] == pytest.approx((positive - negative) / len(TARGETS))
    p, q = np.exp(logs["tv_float"]), np.exp(logs["int8"])
    assert row["kl"] == pytest.approx(rel_entr(p, q).sum(axis=1).mean(), rel=1e-4)
    assert row["images"] == len(TARGETS)
    flips = table(first, "classes_disagreements")
    flips = flips[flips["candidate"] == "colours.int8"]
    assert len(flips) == (one != other).sum()


def test_all_pairs_go_on_where_the_clean_ones_end(first: Path) -> None:
    pairs = table(first, "classes_all_pairs")
    assert pairs["condition"].str.partition(" ")[0].value_counts().to_dict() == {"none": 5, "jpeg": 5}
    clean = pairs[pairs["condition"] == "none"].drop(columns="condition")
    front = pd.concat([table(first, "classes_pairs"), table(first, "classes_variants")])
    order = ["candidate", "reference"]
    pd.testing.assert_frame_equal(
        clean.sort_values(order).reset_index(drop=True), front.sort_values(order).reset_index(drop=True)
    )


def test_ways_of_serving_decide_the_same(first: Path) -> None:
    variants = table(first, "classes_variants")
    expected = {(f"colours.{name}", key) for name in ("tv_float", "int8") for key in ("batch1", "unoptimised")}
    assert {(row.reference, row.candidate.partition("@")[2]) for row in variants.itertuples()} == expected
    assert (variants["agreement"] == 1).all()
    assert (variants[["negative_flips", "positive_flips", "top1_change"]] == 0).all(axis=None)
    assert (variants["p"] == 1).all()
    assert variants["kl"].max() < 1e-6
    assert variants["largest"].max() < 1e-3


def test_every_way_was_really_asked(first: Path) -> None:
    cells = json.loads((first / "run.json").read_text())["cells"]
    assert len(cells) == len(set(cells.values())) == 2 * 3 * 2


def test_the_page_shows_flips_with_the_names_of_their_classes(first: Path) -> None:
    page = (first / "report.html").read_text()
    for words in ("Against the model it was made from", "Serving sensitivity", "Disagreements"):
        assert words in page
    assert page.count("data:image/png;base64,") >= len(table(first, "classes_disagreements")["sample"].unique()[:12])
    sample = table(first, "classes_disagreements").iloc[0]
    said = f"colours.tv_float: {CLASSES[sample['reference_class']]}; colours.int8: {CLASSES[sample['candidate_class']]}"
    assert said in page


def test_the_second_run_asks_nothing_and_says_the_same(place: Path, first: Path) -> None:
    parts = sorted((place / "reports" / "cells").rglob("*.parquet"))
    second = folder_of(harness("run", place / "classes.yaml", "--out", place / "reports"))
    assert second != first
    assert contents(second) == contents(first)
    assert sorted((place / "reports" / "cells").rglob("*.parquet")) == parts


def test_figures_do_not_depend_on_the_folder_of_the_run(place: Path, first: Path, tmp_path: Path) -> None:
    again = contents(folder_of(harness("run", place / "classes.yaml", "--out", tmp_path)))
    assert again == contents(first)


def test_a_dry_run_counts_every_variant(place: Path, tmp_path: Path) -> None:
    said = harness("run", suite(place, "dry", VARIANTS), "--out", tmp_path, "--dry-run", "--limit", 4)
    assert said.returncode == 0, said.stderr
    assert f"12 cells, 4 images, {4 * 12} answers" in said.stdout


def test_a_class_that_no_model_has_is_one_message(place: Path, tmp_path: Path) -> None:
    folder = place / "others" / wnids()[len(CLASSES)]
    folder.mkdir(parents=True)
    PILImage.new("RGB", (SIDE, SIDE)).save(folder / "0.png")
    ended = harness("run", suite(place, "others", "{}", "others"), "--out", tmp_path)
    assert ended.returncode == 2, ended.stdout
    assert "expected one of the 6 classes of colours.int8, from 0, got class 6" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.triton
def test_a_real_triton_decides_the_same(place: Path, first: Path) -> None:
    if find_tritonserver() is None:
        pytest.skip("no tritonserver here: the extra `serve` is not installed")
    path = suite(place, "served", "{served: {served: true}}")
    folder = folder_of(harness("run", path, "--out", place / "reports"))
    variants = table(folder, "classes_variants")
    assert {*variants["candidate"]} == {"colours.tv_float@served", "colours.int8@served"}
    assert (variants["agreement"] == 1).all()
    assert variants["largest"].max() < 1e-3
    assert (variants["images"] == len(TARGETS)).all()
    models = table_of_models(folder)
    assert "triton" in models["colours.int8@served"].lower()
    assert "onnxruntime" in models["colours.int8"]
    pd.testing.assert_frame_equal(table(folder, "classes_pairs"), table(first, "classes_pairs"))


def table_of_models(folder: Path) -> dict[str, str]:
    models = pd.read_csv(folder / "tables" / "models.csv")
    return dict(zip(models["model"], models["platform"], strict=True))

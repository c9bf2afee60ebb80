"""Disagreement as a user searches it: a float classifier and its rounded twin, the command line, real files."""

import hashlib
import json
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from PIL import Image as PILImage

from harness.card import Card
from harness.data.layouts import wnids
from harness.images.preprocess import Preprocess
from harness.search.registry import SEARCHERS
from harness.serving import TritonServer, find_tritonserver
from tests.e2e.commands import contents, folder_of, harness, table

onnx = pytest.importorskip("onnx", reason="the extra `export` is not installed")
torch = pytest.importorskip("torch", reason="the extra `export` is not installed")

CLASSES = ("ash", "elm", "fir", "oak", "yew")
SIDE, IMAGES = 32, 12
FLOAT, INT8, TWIN, FEWER, GRADIENT = "net.tv_float", "net.int8", "net.twin", "net.fewer", "net.tv_float.gradient"
BUDGET = "queries=300 gradients=50"

SUITE = """\
name: {name}
description: Five classes, told by a small network and by its rounded weights.
repository: {repository}
data: {{d: {data}}}
models: [{models}]
resamples: 200
tasks:
  - {task}
"""


def pixels() -> np.ndarray:
    """Smooth random pictures, uint8 (IMAGES, SIDE, SIDE, 3)."""
    coarse = np.random.default_rng(3).uniform(0, 255, (IMAGES, 3, 4, 4)).astype(np.float32)
    smooth = torch.nn.functional.interpolate(torch.from_numpy(coarse), size=(SIDE, SIDE), mode="bicubic")
    return smooth.clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().numpy()


def network(images: np.ndarray, classes: int) -> "torch.nn.Module":
    """A network of seeded weights whose last layer is scaled so that its decisions on the images vary."""
    torch.manual_seed(0)
    nn = torch.nn
    features = [nn.Conv2d(3, 8, 5, 2, 2), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(), nn.AvgPool2d(8)]
    net = nn.Sequential(*features, nn.Flatten(), nn.Linear(16, classes)).eval()
    with torch.no_grad():
        said = net(torch.from_numpy(images).permute(0, 3, 1, 2) / 255)
        scale = 2 / said.std(0)
        net[-1].weight *= scale[:, None]
        net[-1].bias.copy_((net[-1].bias - said.mean(0)) * scale)
    return net


def rounded(net: "torch.nn.Module") -> "torch.nn.Module":
    """The network with 31 levels a tensor of weights, in place."""
    with torch.no_grad():
        for weights in net.parameters():
            step = weights.abs().max() / 15
            weights.copy_(torch.round(weights / step) * step)
    return net


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of the network, its gradient and its kin, and a folder of pictures."""
    from export.gradient import gradient_graph
    from export.onnx import write_onnx
    from export.triton import write_entry

    root, images = tmp_path_factory.mktemp("disagreement"), pixels()
    example = torch.from_numpy(images[:2]).permute(0, 3, 1, 2) / 255
    kin = {
        FLOAT: network(images, 5),
        INT8: rounded(network(images, 5)),
        TWIN: network(images, 5),
        FEWER: network(images, 4),
    }
    for name, net in kin.items():
        said = card(name, classes=CLASSES[: net[-1].out_features])
        write_onnx(net, example, root / f"{name}.onnx", said)
        write_entry(root / "repository", root / f"{name}.onnx", said)
    said = card(GRADIENT, task="gradient")
    onnx.save(gradient_graph(onnx.load(root / f"{FLOAT}.onnx"), said), root / "gradient.onnx")
    write_entry(root / "repository", root / "gradient.onnx", said)
    for number, picture in enumerate(images):
        folder = root / "images" / "val" / wnids()[number % len(CLASSES)]
        folder.mkdir(parents=True, exist_ok=True)
        PILImage.fromarray(picture).save(folder / f"{number}.png")
    return root


def card(name: str, task: str = "classification", classes: Sequence[str] = CLASSES) -> Card:
    take = Preprocess(crop=SIDE, dtype="float32", layout="NCHW")
    return Card(name=name, task=task, summary=f"Five trees, {name}", classes=tuple(classes), preprocess=take, heads=())


def suite(place: Path, name: str, models: Sequence[Mapping[str, object]], task: Mapping[str, object]) -> Path:
    """Write a suite; it searches the pictures unless the task says what data it takes."""
    data = task.get("from", {"layout": "imagenet", "root": str(place / "images")})
    asked = {"name": name, "data": "d", **{key: value for key, value in task.items() if key != "from"}}
    said = SUITE.format(
        name=name,
        repository=place / "repository",
        data=json.dumps(data),
        models=", ".join(map(json.dumps, models)),
        task=json.dumps(asked),
    )
    path = place / f"{name}.yaml"
    path.write_text(said, encoding="utf-8")
    return path


def model(name: str, **more: object) -> dict[str, object]:
    return {"name": name, "options": {"batch": 4, "retries": 0, "timeout_s": 20}, **more}


BOTH = (model(FLOAT), model(INT8), model(GRADIENT))

THERE = {"white": FLOAT, "black": INT8}
BACK = {"white": INT8, "black": FLOAT, "gradient": GRADIENT}


def searching(pairs: Sequence[Mapping[str, str]], searchers: Sequence[str], **more: object) -> dict[str, object]:
    return {"kind": "disagreement", "pairs": list(pairs), "searchers": list(searchers), **more}


def parts(out: Path) -> list[Path]:
    return sorted(out.glob("*/*/*/*.parquet"))


def manifest(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "found" / "manifest.csv")


class Asked:
    """A model asked by ONNX Runtime alone, one image at a time."""

    def __init__(self, place: Path, name: str) -> None:
        path = place / "repository" / name / "1" / "model.onnx"
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def __call__(self, file: Path) -> np.ndarray:
        image = np.asarray(PILImage.open(file)).astype(np.float32) * np.float32(1 / 255)
        return self.session.run(None, {"image": image.transpose(2, 0, 1)[None]})[0][0]


def check_found(place: Path, folder: Path) -> pd.DataFrame:
    """Check every found file of a run against its manifest row and the models themselves."""
    found = manifest(folder)
    models = {name: Asked(place, name) for name in {*found["white"], *found["black"]}}
    assert {path.relative_to(folder / "found").as_posix() for path in folder.rglob("found/*/*.png")} == {*found["path"]}
    for row in found[found["verified"]].itertuples():
        file, seed = folder / "found" / row.path, place / "images" / row.seed
        assert hashlib.sha256(file.read_bytes()).hexdigest() == row.sha256
        white, black = models[row.white](file), models[row.black](file)
        assert (white.argmax(), black.argmax()) == (row.white_class, row.black_class)
        assert white.argmax() != black.argmax()
        for logits, margin in ((white, row.white_margin), (black, row.black_margin)):
            assert np.diff(np.sort(logits)[-2:])[0] == pytest.approx(margin, abs=1e-4)
        assert {models[name](seed).argmax() for name in (row.white, row.black)} == {row.agreed_class}
        change = np.asarray(PILImage.open(file)).astype(int) - np.asarray(PILImage.open(seed))
        assert row.linf == pytest.approx(np.abs(change).max())
        assert row.l2 == pytest.approx(np.linalg.norm(change.ravel()) / 255)
        assert row.psnr == pytest.approx(20 * np.log10(255 * np.sqrt(change.size) / np.linalg.norm(change.ravel())))
    return found


@pytest.fixture(scope="module")
def path(place: Path) -> Path:
    """A suite of every searcher, in both roles."""
    claim = {"black": INT8, "iterations": 50, "images": 1000, "psnr": 48.8, "ssim": 0.99, "success_rate": 0.992}
    other = {**claim, "black": "resnext.int8"}
    searchers = [f"{name} {BUDGET}" for name in SEARCHERS]
    task = searching([THERE, BACK], searchers, protocol="seed", claims=[claim, other])
    return suite(place, "search", BOTH, task)


@pytest.fixture(scope="module")
def first(place: Path, path: Path) -> Path:
    return folder_of(harness("run", path, "--out", place / "reports"))


def test_what_was_found_really_is(place: Path, first: Path) -> None:
    found = check_found(place, first)
    assert found["verified"].all()
    pairs = {f"{FLOAT} -> {INT8}", f"{INT8} -> {FLOAT}"}
    assert {*(found["white"] + " -> " + found["black"])} == pairs
    counted = found.groupby(["white", "black", "searcher"]).size()
    outcomes = table(first, "search_outcomes")
    for row in outcomes.itertuples():
        assert row.found == counted.get((*row.pair.split(" -> "), row.searcher), 0)


def test_every_searcher_stands_in_both_boards(place: Path, first: Path) -> None:
    boards = [table(first, f"search_{number}_leaderboard") for number in range(2)]
    outcomes = table(first, "search_outcomes")
    models = [Asked(place, name) for name in (FLOAT, INT8)]
    files = sorted((place / "images").rglob("*.png"))
    apart = sum(models[0](file).argmax() != models[1](file).argmax() for file in files)
    assert 0 < apart < IMAGES / 2, "some pictures are no seeds"
    assert (outcomes["pre_existing"] == apart).all()
    assert (outcomes["seeds"] == IMAGES - apart).all()
    for board in boards:
        assert {name.partition(" ")[0] for name in board["searcher"]} == set(SEARCHERS)
        assert (board["seeds"] == IMAGES - apart).all()
        assert (board["sr_8bit"] <= board["sr_float"]).all()
        ours = board[board["searcher"].str.startswith("boundary")]
        assert (ours["sr_8bit"] == 1).all()
        assert (ours["rank"] == 1).all()


def test_the_protocol_of_the_seed_shows_its_table(first: Path) -> None:
    rows = table(first, "search_as_published").set_index("model")
    assert rows.loc[INT8, "standing"] == "measured"
    assert rows.loc[INT8, "claimed_psnr"] == 48.8
    assert rows.loc[INT8, "images"] == table(first, "search_0_leaderboard")["seeds"].iloc[0]
    assert rows.loc["resnext.int8", "standing"] == "not measured here"
    assert np.isnan(rows.loc["resnext.int8", "success_rate"])
    assert FLOAT not in rows.index, "the swapped pair follows a gradient that is not its own"
    assert "As Diff-Finder counted" in (first / "report.html").read_text()


def test_the_page_shows_originals_and_what_was_found(first: Path) -> None:
    page = (first / "report.html").read_text()
    assert page.count("data:image/png;base64,") >= 2 * 2
    assert "difference x" in page


def test_the_second_run_asks_nothing_and_says_the_same(place: Path, path: Path, first: Path) -> None:
    before = parts(place / "reports")
    assert before
    second = folder_of(harness("run", path, "--out", place / "reports"))
    assert second != first
    assert contents(second) == contents(first)
    assert parts(place / "reports") == before


def test_found_images_are_data_of_any_later_suite(place: Path, first: Path) -> None:
    models = [{"name": name, "options": {"batch": 1}} for name in (FLOAT, INT8)]
    task = {"kind": "classification", "from": {"found": first.name}}
    folder = folder_of(harness("run", suite(place, "again", models, task), "--out", place / "reports"))
    (row,) = table(folder, "again_pairs").to_dict("records")
    assert (row["reference"], row["candidate"]) == (FLOAT, INT8)
    assert row["images"] == len(manifest(first)) > 0
    assert row["agreement"] == 0
    assert "neither resized nor cropped" in (folder / "report.md").read_text()


def test_found_images_are_held_against_their_seeds(place: Path, first: Path) -> None:
    few = Path(shutil.copytree(first, first.with_name("few")))
    rows = manifest(first).groupby("white").head(3).reset_index()
    rows.to_csv(few / "found" / "manifest.csv", index=False)
    gone = rows["path"][0]
    (few / "found" / gone).unlink()
    ended = harness("diff", "--found", few, "--out", place / "diffs")
    assert ended.returncode == 0, ended.stderr
    told = pd.read_csv(place / "diffs" / "figures.csv")
    assert told["error"].str.startswith("missing").tolist()[0]
    assert told["error"].isna().sum() == len(rows) - 1 == 5
    np.testing.assert_allclose(told["psnr"][1:], rows["psnr"][1:], rtol=1e-4)
    assert (place / "diffs" / told["name"][1] / "sheet.png").is_file()


def test_identical_models_have_nothing_to_find(place: Path) -> None:
    task = searching([{"white": FLOAT, "black": TWIN}], [f"boundary {BUDGET}", f"dflare {BUDGET}"])
    path = suite(place, "twins", [model(FLOAT), model(TWIN), model(GRADIENT)], task)
    folder = folder_of(harness("run", path, "--out", place / "reports"))
    assert manifest(folder).empty
    said = (folder / "report.md").read_text()
    assert f"Nothing was found in {2 * IMAGES} searches" in said
    assert "They may be the same model" in said
    board = table(folder, "twins_0_leaderboard")
    assert (board["sr_8bit"] == 0).all()
    assert board["psnr"].isna().all()


def test_models_of_other_classes_are_refused_before_anything_runs(place: Path, tmp_path: Path) -> None:
    task = searching([{"white": FLOAT, "black": FEWER}], ["boundary"])
    path = suite(place, "others", [model(FLOAT), model(FEWER), model(GRADIENT)], task)
    ended = harness("run", path, "--out", tmp_path)
    assert ended.returncode == 2, ended.stdout
    assert f"models {FLOAT} and {FEWER}: expected the same classes, got 5 and 4" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not parts(tmp_path)
    assert not (tmp_path / "runs").exists()


@pytest.mark.triton
def test_served_models_find_images_too(place: Path) -> None:
    if find_tritonserver() is None:
        pytest.skip("no tritonserver here: the extra `serve` is not installed")
    task = searching([THERE, BACK], [f"boundary {BUDGET}"])
    path = suite(place, "served", BOTH, task)
    folder = folder_of(harness("run", path, "--out", place / "reports", "--serve", "triton"))
    found = check_found(place, folder)
    for number in range(2):
        board = table(folder, f"served_{number}_leaderboard")
        assert (board["sr_8bit"] == 1).all()
    assert len(found) == 2 * board["seeds"].iloc[0]


def asked_so_far(server: TritonServer, name: str) -> int:
    """Images that a server has answered about."""
    url = f"http://{server.host}:{server.http_port}/v2/models/{name}/stats"
    with urllib.request.urlopen(url, timeout=5) as answer:
        return int(json.load(answer)["model_stats"][0]["inference_count"])


@pytest.mark.triton
def test_an_endpoint_that_dies_mid_search_costs_no_found_image(place: Path, tmp_path: Path) -> None:
    if find_tritonserver() is None:
        pytest.skip("no tritonserver here: the extra `serve` is not installed")
    steps = 200
    long = f"difffinder_cw c=20 lr=0.05 iterations={steps}"
    with TritonServer(place / "repository", [INT8]) as server:
        models = [model(FLOAT), model(INT8, endpoint=server.grpc_url(INT8)), model(GRADIENT)]
        path = suite(place, "cut", models, searching([THERE], ["boundary", long]))
        command = [sys.executable, "-m", "harness", "run", str(path), "--out", str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as going:
            while not list(tmp_path.glob("searches/*/*/*.parquet")) and going.poll() is None:
                time.sleep(0.02)
            before = asked_so_far(server, INT8)
            while asked_so_far(server, INT8) < before + IMAGES * steps / 5 and going.poll() is None:
                time.sleep(0.02)
            assert server._process is not None
            server._process.kill()
            _, complained = going.communicate(timeout=60)
    assert going.returncode == 3, complained
    assert "Traceback" not in complained
    (folder,) = (tmp_path / "runs").iterdir()
    assert json.loads((folder / "run.json").read_text())["status"] == "failed"
    found = check_found(place, folder)
    kept = found.groupby("searcher")["verified"].agg(["size", "sum"])
    assert kept.loc["boundary", "size"] == kept.loc["boundary", "sum"] > IMAGES / 2
    cut = found[~found["verified"]]
    assert len(cut) > 0, "what the cut-off search had kept is there, not verified"
    for row in cut.itertuples():
        file = folder / "found" / row.path
        assert hashlib.sha256(file.read_bytes()).hexdigest() == row.sha256
        assert PILImage.open(file).size == (SIDE, SIDE)
    before_again = {row.path: (folder / "found" / row.path).read_bytes() for row in found.itertuples() if row.verified}
    with TritonServer(place / "repository", [INT8], grpc_port=server.grpc_port):
        again = folder_of(harness("run", path, "--out", tmp_path))
    assert again == folder, "the same run goes on"
    found = manifest(folder)
    assert found["verified"].all()
    check_found(place, folder)
    for name, content in before_again.items():
        assert (folder / "found" / name).read_bytes() == content
    outcomes = table(folder, "cut_outcomes")
    assert "failed" not in outcomes
    assert (outcomes["seeds"] == outcomes["seeds"].iloc[0]).all()
    assert outcomes["found"].sum() == len(found)

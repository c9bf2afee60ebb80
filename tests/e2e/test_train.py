"""Training as a user does it: the command line, real images, a kill in the middle, two processes."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image as PILImage

from harness.errors import HarnessError
from harness.events import Silent
from harness.repository import find_entries
from tests.e2e.commands import folder_of, harness, table

torch = pytest.importorskip("torch", reason="the extra `export` is not installed")

from tests.unit.export.training_data import write_pictures  # noqa: E402

FILE = """\
name: small
repository: repository
licence: Apache-2.0
data: {{d: {{layout: real_fake, root: {root}}}}}
detectors:
  - architecture: npr
    scale: miniature
    data: d
    generators: [board]
    validation: {{share: 0.3}}
    recipe: {{epochs: {epochs}, batch: 8}}
checkpoint_minutes: 0.001
check_served: false
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both generators' small pictures, enlarged to what a miniature detector takes."""
    root = write_pictures(tmp_path_factory.mktemp("train") / "pictures", {"train": 16, "test": 8})
    for path in root.rglob("*.png"):
        PILImage.open(path).resize((128, 128), PILImage.Resampling.NEAREST).save(path)
    return root


def file(pictures: Path, folder: Path, epochs: int = 6) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "small.yaml"
    path.write_text(FILE.format(root=pictures, epochs=epochs), encoding="utf-8")
    return path


def weights(out: Path) -> dict[str, "torch.Tensor"]:
    (path,) = out.glob("training/npr.board-*/weights.pt")
    return torch.load(path, weights_only=True)


@pytest.fixture(scope="module")
def whole(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that nothing disturbed: its file, its output, its repository."""
    folder = tmp_path_factory.mktemp("whole")
    ended = harness("train", file(pictures, folder), "--out", folder / "out")
    assert ended.returncode == 0, ended.stderr
    assert "npr.board" in ended.stdout
    assert "val AUROC" in ended.stdout
    (folder / "said").write_text(ended.stdout)
    return folder


def test_a_detector_is_trained_and_entered(whole: Path) -> None:
    (folder,) = (whole / "out/training").glob("npr.board-*")
    assert sorted(item.name for item in folder.iterdir()) == ["curve.svg", "history.csv", "result.json", "weights.pt"]
    history = pd.read_csv(folder / "history.csv")
    assert list(history["epoch"]) == list(range(1, len(history) + 1))
    assert (folder / "curve.svg").read_text().startswith("<svg")
    (entry,) = find_entries(whole / "repository", "*")
    assert entry.name == "npr.board"
    assert entry.card.heads[0].trained_on == ("board",)
    assert entry.card.parity is not None
    assert entry.card.parity.passed
    known = json.loads((folder / "result.json").read_text())["auroc"]
    assert entry.card.training["validation_auroc"] == round(known, 4)


def test_suites_know_what_it_was_trained_on(whole: Path, pictures: Path) -> None:
    suite = whole / "suite.yaml"
    suite.write_text(
        f"name: s\nrepository: repository\ndata: {{d: {{layout: real_fake, root: {pictures}}}}}\n"
        "models: ['*']\ntasks: [{kind: detection, name: s, data: d}]\nresamples: 100\n"
    )
    figures = table(folder_of(harness("run", suite, "--out", whole / "out")), "s_figures")
    assert dict(zip(figures["generator"], figures["domain"], strict=True)) == {"board": "in-domain", "lines": "cross"}


def test_what_is_trained_is_not_trained_again(whole: Path) -> None:
    again = harness("train", whole / "small.yaml", "--out", whole / "out")
    assert again.returncode == 0, again.stderr
    assert again.stdout == (whole / "said").read_text()


def test_killed_and_started_again_it_ends_with_the_same_weights(whole: Path, pictures: Path, tmp_path: Path) -> None:
    path = file(pictures, tmp_path)
    command = [sys.executable, "-m", "harness", "train", str(path), "--out", str(tmp_path / "cut")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as going:
        while not list(tmp_path.glob("cut/training/*/checkpoint.pt")) and going.poll() is None:
            time.sleep(0.005)
        going.send_signal(signal.SIGKILL)
    (left,) = tmp_path.glob("cut/training/*")
    assert not (left / "result.json").exists()
    again = harness("train", path, "--out", tmp_path / "cut")
    assert again.returncode == 0, again.stderr
    one, other = weights(whole / "out"), weights(tmp_path / "cut")
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_detector_that_diverges_does_not_keep_others_from_being_trained(pictures: Path, tmp_path: Path) -> None:
    path = file(pictures, tmp_path)
    spec = path.read_text(encoding="utf-8").partition("detectors:\n")[2].partition("checkpoint_minutes")[0]
    wild = spec.replace("data: d", "data: d\n    tag: wild_{generator}").replace("batch: 8", "batch: 8, lr: 1.0e+30")
    text = path.read_text(encoding="utf-8").replace("detectors:\n", f"detectors:\n{wild}")
    path.write_text(text, encoding="utf-8")
    ended = harness("train", path, "--out", tmp_path / "out")
    assert ended.returncode == 4
    assert "npr.wild_board: answers after" in ended.stderr
    assert "Lower the recipe's lr" in ended.stderr
    assert ended.stdout.startswith("npr.board ")
    assert [entry.name for entry in find_entries(tmp_path / "repository", "*")] == ["npr.board"]


def test_two_processes_train_one_detector(pictures: Path, tmp_path: Path) -> None:
    path = file(pictures, tmp_path, epochs=2)
    with socket.socket() as item:
        item.bind(("127.0.0.1", 0))
        port = item.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1"]
    command += ["--master-port", str(port), "-m", "harness", "train", str(path), "--out", str(tmp_path / "out")]
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environ)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("npr.board ") == 1
    assert len(list((tmp_path / "out/training").iterdir())) == 1
    assert [entry.name for entry in find_entries(tmp_path / "repository", "*")] == ["npr.board"]


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("detectors.0.generators=[bord]", "Did you mean 'board'?"),
        ("detectors.0.architecture=nqr", "Did you mean 'npr'?"),
        ("detectors.0.recipe={lrr: 1}", "a recipe has no 'lrr'. Did you mean 'lr'?"),
        ("detectors.0.recipe={augment: [blurr]}", "Choose from: blur_jpeg"),
        ("detectors.0.validation={split: train}", "validation images must not be trained on"),
        ("data.d.root=nowhere", "expected a folder, got none"),
        ("detectors.0.init=nothing.pt", "nothing.pt"),
        ("detectors.0.init=imagenet", "Leave init out"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_computed(
    pictures: Path, tmp_path: Path, setting: str, said: str
) -> None:
    from export.training.run import Asked, train

    asked = Asked(file(pictures, tmp_path), (setting,), tmp_path / "out")
    with pytest.raises(HarnessError) as raised:
        train(asked, Silent())
    assert said in str(raised.value)
    assert not (tmp_path / "out/training").exists()

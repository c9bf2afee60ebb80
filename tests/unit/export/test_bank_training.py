"""Banks of fingerprints: what they are trained on, what is refused, and that a kill costs nothing."""

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

from export.residual_filters import load_filter
from export.training.fingerprints import BankJob, make_bank_jobs, residual_files, train_bank
from export.training.result import Trained
from export.training.spec import Training
from harness.data.miniature.photographs import PHOTOGRAPHS, load
from harness.errors import CardError, CheckpointError, DataError
from harness.events import Silent
from harness.fingerprints.bank import BANK_FILE, Bank
from harness.images import decode
from tests.unit.export.training_data import opened

SIDE = 32
COUNTS = {"train": 10, "val": 5, "test": 1}
FAKES = {"near": PILImage.Resampling.NEAREST, "soft": PILImage.Resampling.BILINEAR}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Crops of a photograph, and crops that were halved and enlarged again in two ways."""
    root = tmp_path_factory.mktemp("banks") / "pictures"
    random, photograph = np.random.default_rng(0), load(PHOTOGRAPHS[0])
    for split, count in COUNTS.items():
        for generator, resampling in FAKES.items():
            for kind in ("real", "fake"):
                folder = root / split / generator / kind
                folder.mkdir(parents=True)
                for number in range(count):
                    top, left = (int(random.integers(length - SIDE)) for length in photograph.shape[:2])
                    crop = PILImage.fromarray(photograph[top : top + SIDE, left : left + SIDE])
                    if kind == "fake":
                        crop = crop.resize((SIDE // 2, SIDE // 2), PILImage.Resampling.BOX)
                        crop = crop.resize((SIDE, SIDE), resampling)
                    crop.save(folder / f"{number}.png")
    return root


def made(root: Path, **said: object) -> list[BankJob]:
    spec = {"data": "d", "tag": "b", "filter": "bilateral", "size": SIDE, "base": 4, "steps": 30, "batch": 4, **said}
    training = Training.model_validate({"name": "t", "data": {"d": {"layout": "miniature"}}, "fingerprints": [spec]})
    return make_bank_jobs(training, {"d": opened(root)}, root)


class Cut(Silent):
    """Stops a training when so many steps of it are done."""

    def __init__(self, step: int) -> None:
        self.step = step

    def advance(self, done: int, total: int, extra: str = "") -> None:
        if "AUROC" in extra and done >= self.step:
            raise KeyboardInterrupt


def trained(job: BankJob, out: Path, *cuts: int) -> Path:
    """Train a bank, stopped and started again at some of its steps; returns its folder."""
    for cut in (*cuts, None):
        residuals = residual_files([job], out)[job.name]
        events, device = Silent() if cut is None else Cut(cut), torch.device("cpu")
        clock = map(float, itertools.count()).__next__
        try:
            train_bank(job, residuals, out / "bank", device, events, words="", every_minutes=0, clock=clock)
        except KeyboardInterrupt:
            assert cut is not None
            assert not (out / "bank" / BANK_FILE).exists()
    return out / "bank"


@pytest.fixture(scope="module")
def whole(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(made(root)[0], tmp_path_factory.mktemp("whole"))


def test_a_bank_has_a_fingerprint_a_generator(whole: Path) -> None:
    bank = Bank.load(whole / BANK_FILE)
    assert bank.names == ("near", "soft")
    assert bank.fingerprints.shape == (2, 3, SIDE, SIDE)
    assert sorted(item.name for item in whole.iterdir()) == ["curve.svg", BANK_FILE, "history.csv", "result.json"]
    assert 0.5 < Trained.load(whole).auroc <= 1
    assert (whole / "history.csv").read_text().splitlines()[1].startswith("near,25,")


@pytest.mark.parametrize("cuts", [(26,), (29, 31), (57,)], ids=str)
def test_killed_and_started_again_it_ends_with_the_same_bank(
    root: Path, whole: Path, tmp_path: Path, cuts: tuple[int, ...]
) -> None:
    again = trained(made(root)[0], tmp_path, *cuts)
    for name in (BANK_FILE, "history.csv"):
        assert (again / name).read_bytes() == (whole / name).read_bytes()
    assert Trained.load(again).seconds == pytest.approx(Trained.load(whole).seconds, rel=0.1)


def test_a_checkpoint_that_is_none_is_refused(root: Path, tmp_path: Path) -> None:
    (tmp_path / "bank").mkdir()
    (tmp_path / "bank/checkpoint.pt").write_bytes(b"no")
    with pytest.raises(CheckpointError, match="Remove it to start anew"):
        trained(made(root)[0], tmp_path)


def test_residuals_are_made_once_and_normalised(root: Path, tmp_path: Path) -> None:
    few, all_ = made(root, samples=[4, None], tag="n{samples}")
    assert [job.name for job in (few, all_)] == ["dif.n4", "dif.nall"]
    shared = residual_files([few, all_], tmp_path)
    assert shared["dif.n4"] is shared["dif.nall"]
    shared["dif.n4"].make(torch.device("cpu"))
    train, _ = few.parts["near"]
    classes = shared["dif.n4"].classes(train)
    assert (len(classes.real), len(classes.fake)) == (4, 4)
    pixels = decode(train.data.read(train[0]))
    with torch.no_grad():
        image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
        wanted = load_filter("bilateral")(image).numpy().ravel()
    assert np.corrcoef(classes.real.take(np.array([0])).numpy()[0], wanted)[0, 1] > 0.999999
    everything = np.concatenate([block.numpy() for block in classes.fake.blocks()])
    np.testing.assert_allclose(np.linalg.norm(everything, axis=1), 1, rtol=1e-3)
    shared["dif.n4"].remove()
    assert not list(tmp_path.iterdir())


def test_fewer_samples_are_some_of_the_more(root: Path) -> None:
    few, more, plenty = made(root, samples=[3, 6, 1000], tag="n{samples}")
    paths = [set(job.parts["near"][0].rows["path"].to_pylist()) for job in (few, more, plenty)]
    assert paths[0] < paths[1] < paths[2]
    assert list(map(len, paths)) == [6, 12, 2 * COUNTS["train"]]
    assert len({few.key, more.key, plenty.key}) == 3
    assert plenty.key == made(root)[0].key != made(root, seed=1)[0].key


@pytest.mark.parametrize(
    ("said", "error", "complaint"),
    [
        ({"size": 48}, DataError, r"real/0\.png: expected at least 48 pixels a side, .* got 32 x 32, as 19 others"),
        ({"generators": ["nere"]}, DataError, "expected 'nere', got near, soft. Did you mean 'near'"),
        ({"filter": "nothing.pt"}, CheckpointError, "residual filter nothing.pt: expected a file"),
        ({"seed": [1, 2]}, ValueError, r"several seed needs \{seed\} in its tag"),
        ({"samples": [1, 2]}, ValueError, r"several samples needs \{samples\} in its tag"),
        ({"samples": [4, 4], "tag": "n{samples}"}, CardError, r"names used once, got dif\.n4"),
        ({"batch": 5}, ValueError, "multiple of 2"),
        ({"size": 40}, ValueError, "multiple of 16"),
        ({"validation": {"split": "train"}}, ValueError, "validation images must not be trained on"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_computed(
    root: Path, said: dict[str, object], error: type[Exception], complaint: str
) -> None:
    with pytest.raises(error, match=complaint):
        made(root, **said)


def test_one_class_alone_and_images_on_both_sides_are_refused(root: Path, tmp_path: Path) -> None:
    alone, both = tmp_path / "alone", tmp_path / "both"
    for folder in (alone, both):
        shutil.copytree(root, folder)
    for generator in FAKES:
        shutil.rmtree(alone / "train" / generator / "real")
    shutil.copy(both / "train/near/fake/0.png", both / "test/near/fake/again.png")
    with pytest.raises(DataError, match="real images of near: expected some to train on, got none"):
        made(alone)
    with pytest.raises(DataError, match="images of split test: expected none that is trained on, got 1 shared"):
        made(both)


def test_an_image_that_can_not_be_decoded_is_named(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "p")
    path = tmp_path / "p/train/near/fake/3.png"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"fake/3\.png: expected an image that can be decoded"):
        trained(made(tmp_path / "p")[0], tmp_path / "out")


def test_a_file_must_train_something() -> None:
    with pytest.raises(ValueError, match="nothing is to be trained"):
        Training.model_validate({"name": "t", "data": {"d": {"layout": "miniature"}}})

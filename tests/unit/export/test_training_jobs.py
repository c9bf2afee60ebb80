"""Which images a detector is trained on, and what is refused before anything is computed."""

import shutil
from pathlib import Path

import pytest

from export.training import jobs
from export.training.jobs import Job, choose, content, make_jobs
from export.training.spec import Training
from harness.errors import CardError, DataError
from tests.unit.export.training_data import TINY, opened, write_pictures

COUNTS = {"train": 6, "val": 3, "test": 2}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("jobs") / "pictures", COUNTS)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "ARCHITECTURES", {"tiny": TINY})


def training(**detector: object) -> Training:
    said = {"architecture": "tiny", "data": "d", "validation": {"share": 0.3}, **detector}
    return Training.model_validate({"name": "t", "data": {"d": {"layout": "miniature"}}, "detectors": [said]})


def made(root: Path, **detector: object) -> list[Job]:
    return make_jobs(training(**detector), {"d": opened(root)}, lambda name: name)


def paths(images: jobs.Images) -> set[str]:
    return {images[position].path for position in range(len(images))}


def test_one_detector_for_each_generator_or_one_of_all(root: Path) -> None:
    each = made(root)
    assert [(job.name, job.generators) for job in each] == [("tiny.board", ("board",)), ("tiny.lines", ("lines",))]
    (both,) = made(root, mixed=True, tag="all")
    assert both.generators == ("board", "lines")
    assert both.name == "tiny.all"
    assert len(both.train) + len(both.validation) == 4 * COUNTS["train"]
    assert all("/board/" in path for path in paths(each[0].train))


def test_one_detector_for_each_seed_and_architecture(root: Path) -> None:
    found = made(root, architecture=["tiny", "t*"], seed=[0, 1], generators=["board"], tag="{generator}_s{seed}")
    assert [(job.name, job.seed) for job in found] == [("tiny.board_s0", 0), ("tiny.board_s1", 1)]
    assert found[0].key != found[1].key
    with pytest.raises(ValueError, match=r"one detector for each seed needs \{seed\} in its tag"):
        made(root, seed=[0, 1])
    with pytest.raises(CardError, match=r"'tinny'.*Did you mean 'tiny'"):
        made(root, architecture=["tiny", "tinny"])


def test_a_share_of_the_sources_validates_and_is_not_trained_on(root: Path) -> None:
    job = made(root, mixed=True, tag="all")[0]
    assert paths(job.train).isdisjoint(paths(job.validation))
    assert all(path.startswith("train/") for path in paths(job.train) | paths(job.validation))
    other = made(root, mixed=True, tag="all", seed=1)[0]
    assert paths(other.validation) != paths(job.validation)


def test_a_split_of_its_own_validates(root: Path, tmp_path: Path) -> None:
    (job, _) = made(root, validation={"split": "val"})
    assert len(job.validation) == 2 * COUNTS["val"]
    assert all(path.startswith("val/") for path in paths(job.validation))
    only = write_pictures(tmp_path / "p", {"train": 3})
    with pytest.raises(DataError, match="some to validate with, got none"):
        made(only, validation={"split": "val"})


def test_fewer_images_are_the_same_ones_for_one_seed(root: Path) -> None:
    few, again = (made(root, images=3)[0] for _ in range(2))
    assert sorted(few.train.labels) == [0, 0, 0, 1, 1, 1]
    assert paths(few.train) == paths(again.train)
    assert few.key == again.key != made(root, images=4)[0].key


def test_classes_limit_what_images_show(root: Path) -> None:
    (job, _) = made(root, classes=2)
    shown = {content(job.train[position]) for position in range(len(job.train))}
    assert len({content(job.train[p]) for p in range(len(job.train)) if job.train.labels[p]}) <= 2
    assert len(shown) <= 4


def test_a_key_follows_from_recipe_seed_and_images(root: Path) -> None:
    keys = {made(root, **said)[0].key for said in ({}, {"seed": 1}, {"recipe": {"lr": 0.5}}, {"freeze": ["first.*"]})}
    assert len(keys) == 4


def test_an_image_on_both_sides_is_named(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "p")
    shutil.copy(tmp_path / "p/train/board/fake/0.png", tmp_path / "p/test/board/fake/again.png")
    with pytest.raises(
        DataError, match=r"images of split test: expected none that is trained on, got 1 shared, .*0\.png"
    ):
        made(tmp_path / "p", validation={"split": "val"})


def test_missing_generators_and_empty_classes_are_named(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected 'bord', got board, lines. Did you mean 'board'"):
        made(root, generators=["bord"])
    shutil.copytree(root, tmp_path / "p")
    for name in ("board", "lines"):
        shutil.rmtree(tmp_path / "p/train" / name / "real")
    for_board = training(generators=["board"], validation={"share": 0.3})
    with pytest.raises(DataError, match="real images of board: expected some to train on, got none"):
        choose(for_board.detectors[0], opened(tmp_path / "p"), ("board",), 0)


def test_names_and_architectures_are_checked(root: Path) -> None:
    with pytest.raises(CardError, match=r"expected a known one, got 'tinny'. Did you mean 'tiny'"):
        made(root, architecture="tinny")
    twice = training().model_copy(update={"detectors": training().detectors * 2})
    with pytest.raises(CardError, match=r"tiny\.board, tiny\.lines"):
        make_jobs(twice, {"d": opened(root)}, lambda name: name)

"""The shipped training files: valid, and the detectors that they name are those that the suites ask for."""

from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from export.training.spec import Training
from harness.spec.load import load_spec, load_suite
from harness.spec.tasks import DetectionTask

SUITES = Path(__file__).parents[3] / "suites"
REAL = {"GENIMAGE_ROOT": "/data", "GENIMAGE_TRAINED_ON": "sd14"}
LEARNING = {"class_generalisation": "contents", "image_count": "images"}


def names(file: str, environ: dict[str, str]) -> list[str]:
    """Return the entries of a training file whose architectures and generators are no wildcards."""
    training = load_spec(Training, SUITES / "train" / f"{file}.yaml", (), environ)
    return [
        f"{architecture}.{item.tag.replace('{generator}', generator)}"
        for item in training.detectors
        for architecture in item.architecture
        for generator in item.generators
    ]


@pytest.mark.parametrize("path", sorted((SUITES / "train").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_training_files_are_valid(path: Path) -> None:
    assert load_spec(Training, path, (), REAL).name == path.stem


@pytest.mark.parametrize(("ending", "environ"), [("", REAL), ("_miniature", {})], ids=["genimage", "miniature"])
@pytest.mark.parametrize("name", LEARNING)
def test_suites_of_learning_curves_ask_for_their_detectors_alone(
    name: str, ending: str, environ: dict[str, str]
) -> None:
    trained = names(f"{name}{ending}", environ)
    assert len(set(trained)) == len(trained) == (3 if ending else 6)
    for other in LEARNING:
        suite = load_suite(SUITES / f"genimage_{other}.yaml", (), environ)
        (model,), (task,) = suite.models, suite.tasks
        assert isinstance(task, DetectionTask)
        assert task.learning_curve == LEARNING[other]
        assert [item for item in trained if fnmatchcase(item, model.name)] == (trained if other == name else [])


def test_cards_call_the_miniature_so_and_other_data_by_their_names() -> None:
    data = {
        "real": {"layout": "genimage", "root": "", "otherwise": {"layout": "miniature"}},
        "dug": {"layout": "found", "root": "run"},
        "there": {"layout": "genimage", "root": "/data", "otherwise": {"layout": "miniature"}},
    }
    detectors = [{"data": name, "tag": f"{name}_{{generator}}"} for name in data]
    training = Training.model_validate({"name": "t", "data": data, "detectors": detectors})
    assert [training.called(name) for name in data] == ["the miniature corpus", "dug", "there"]


def test_what_one_quantity_changes_leaves_the_other_alone() -> None:
    """Classes are compared at one number of images."""
    for ending, environ in (("", REAL), ("_miniature", {})):
        path = SUITES / "train" / f"class_generalisation{ending}.yaml"
        detectors = load_spec(Training, path, (), environ).detectors
        assert len({item.images for item in detectors}) == 1
        assert len({item.classes for item in detectors}) == 3

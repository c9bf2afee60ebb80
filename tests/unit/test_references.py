"""From a suite with references to answers about artifacts, by scripted models over real files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from harness.cli import app
from harness.errors import CardError, HarnessError, SuiteError
from harness.events import Silent
from harness.fingerprints.representations import parse_representation
from harness.fingerprints.represented import RepresentedBackend
from harness.run import Asked, prepare, run
from harness.store.runs import RunStore
from tests.unit.fingerprints.pictures import SIDE, pictures, put

SPLITS = {
    ("train", "nature"): pictures(12),
    ("test", "nature"): pictures(5, seed=1),
    ("test", "gan"): pictures(6, seed=2),
}
EMBEDDER = {"name": "embedder.toy", "task": "embedding", "dimensions": 1, "preprocess": {"crop": SIDE}}
RGB = {"data": "pictures", "space": "rgb"}
EMBEDDING = {"data": "pictures", "space": "embedding", "embedder": "embedder.toy"}
UNKNOWN = "f" * 64


def model(name: str, represent: str, reference: str = "", **card: Any) -> dict[str, Any]:
    said = {"preprocess": {"crop": SIDE}, "represent": represent, "reference": reference, **card}
    return scripted({"name": name, **said})


def scripted(card: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": card["name"],
        "endpoint": f"scripted:{json.dumps({'card': card})}",
        "options": {"retries": 0, "batch": 4},
    }


class Suite:
    """A suite over one folder of pictures."""

    def __init__(self, root: Path) -> None:
        self.root = root
        put(root, SPLITS)

    def write(self, models: list[dict[str, Any]], references: list[dict[str, Any]], **more: Any) -> Asked:
        said = {
            "name": "artifacts",
            "data": {"pictures": {"layout": "manifest", "root": "table.csv"}},
            "models": models,
            "references": references,
            "tasks": [{"kind": "detection", "data": "pictures", "audit": False}],
            **more,
        }
        path = self.root / "suite.yaml"
        path.write_text(yaml.safe_dump(said), encoding="utf-8")
        return Asked(path, out=self.root / "reports")

    def identity(self, represent: str, references: list[dict[str, Any]], others: list[dict[str, Any]]) -> str:
        """What a card must name, as the refusal of another tells it."""
        asked = self.write([model("toy.one", represent, UNKNOWN), *others], references)
        with pytest.raises(CardError, match="expected reference ffffffffffff"):
            run(asked, Silent())
        (folder,) = [item for item in (self.root / "reports" / "references").iterdir() if item.name != "pixels"]
        return str(json.loads((folder / "reference.json").read_text())["identity"])


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    return Suite(tmp_path)


@pytest.mark.parametrize(
    ("represent", "references", "others"),
    [
        ("artifact space=rgb", [RGB], []),
        ("artifact space=rgb", [{**RGB, "index": "approximate"}], []),
        ("artifact space=embedding embedder=embedder.toy", [EMBEDDING], [scripted(EMBEDDER)]),
    ],
)
def test_a_run_asks_about_artifacts(
    suite: Suite, represent: str, references: list[dict[str, Any]], others: list[dict[str, Any]]
) -> None:
    identity = suite.identity(represent, references, others)
    models = [model(f"toy.{name}", represent, identity) for name in ("one", "two")]
    finished = run(suite.write([*models, *others], references), Silent())
    assert not finished.reasons
    assert {name.split("/")[1] for name in finished.info.cells} == {"toy.one", "toy.two"}, "no task asks an embedder"
    approximate = references[0].get("index") == "approximate"
    assert ("approximate" in (finished.folder / "report.md").read_text()) == approximate
    store = RunStore(suite.root / "reports")
    with prepare(suite.write([*models, *others], references), store, Silent()) as ready:
        (reference,) = ready.references
        assert (reference.about.recall is not None) == approximate
        embed = None
        if others:
            backend = ready.models["embedder.toy"].backend
            embed = lambda images: backend.infer({"image": images})["score"]  # noqa: E731
        made = parse_representation(represent).bind([reference], embed)(SPLITS["test", "gan"])
        one, two = (ready.models[name].backend for name in ("toy.one", "toy.two"))
        assert isinstance(one, RepresentedBackend) and isinstance(two, RepresentedBackend)
        assert one.make is two.make, "what models share is made once"
    key = next(key for name, key in finished.info.cells.items() if "/toy.one/gan/" in name)
    answered = np.array(store.cells.read(key)["scores"].to_pylist())[:, 0]
    np.testing.assert_allclose(answered, made.reshape(6, -1).mean(axis=1), atol=1e-6)


def test_fitting_says_where_references_lie(suite: Suite) -> None:
    identity = suite.identity("artifact space=rgb", [RGB], [])
    asked = suite.write([model("toy.one", "artifact space=rgb", identity)], [RGB])
    told = CliRunner().invoke(app, ["fingerprints", "fit", str(asked.suite), "--out", str(asked.out)])
    assert told.exit_code == 0, told.output
    assert f"reference {identity[:12]}: rgb, pictures/train, 12 images of 3 x 16 x 16, exact" in told.stdout
    assert f"{asked.out / 'references' / identity[:12]}  0.0 MB, fitted in" in told.stdout


def test_references_that_no_model_needs_are_not_fitted(suite: Suite) -> None:
    finished = run(suite.write([model("toy.one", "spectrum_1d")], [RGB]), Silent())
    assert not finished.reasons and not (suite.root / "reports" / "references").exists()


def test_statistics_need_no_reference(suite: Suite) -> None:
    finished = run(suite.write([model("toy.one", "cooccurrence levels=16")], []), Silent())
    assert not finished.reasons
    key = next(key for name, key in finished.info.cells.items() if "/gan/" in name)
    scores = RunStore(suite.root / "reports").cells.read(key)["scores"].to_pylist()
    np.testing.assert_allclose(scores, 1 / 256, rtol=1e-5)


def test_answers_about_another_representation_are_other_answers(suite: Suite) -> None:
    keys = [
        set(run(suite.write([model("toy.one", kind)], []), Silent()).info.cells.values())
        for kind in ("spectrum_1d", "spectrum_decay")
    ]
    assert not keys[0] & keys[1]


def test_another_embedder_is_refused_before_anything_is_computed(suite: Suite) -> None:
    represent = "artifact space=embedding embedder=embedder.toy"
    trained = {"reference_embedder_sha256": "0" * 64}
    asked = suite.write([model("toy.one", represent, UNKNOWN, training=trained), scripted(EMBEDDER)], [EMBEDDING])
    expected = r"model toy.one: expected artifacts by embedder.toy of weights 0{12}, got an embedder of weights "
    with pytest.raises(CardError, match=expected):
        run(asked, Silent())
    assert not (suite.root / "reports" / "references").exists()


def test_a_reference_of_other_images_is_refused_and_both_are_named(suite: Suite) -> None:
    asked = suite.write([model("toy.one", "artifact space=rgb", UNKNOWN, training={"reference_data": "faces"})], [RGB])
    expected = (
        "expected reference ffffffffffff for artifact space=rgb; reference_data faces, got reference [0-9a-f]{12}: "
        "rgb, pictures/train, 12 images of 3 x 16 x 16, exact"
    )
    with pytest.raises(CardError, match=expected):
        run(asked, Silent())
    assert not (suite.root / "reports" / "cells").exists()


@pytest.mark.parametrize(
    ("models", "references", "message"),
    [
        ([model("toy.one", "artifact space=frequency")], [RGB], "got reference rgb of pictures/train. Name one under"),
        ([model("toy.one", "artifact space=rgb")], [], "expected a reference for artifact space=rgb, got none"),
        ([model("toy.one", "artifact space=rgb")], [{**RGB, "split": "test"}], r"test/nature/000.png of pictures/test"),
        (
            [model("toy.one", "spectrum_1d", preprocess={"crop": SIDE, "dtype": "float32"})],
            [],
            "expected a card that takes uint8 pixels",
        ),
        (
            [
                model("toy.one", "artifact space=embedding embedder=embedder.toy"),
                scripted({"name": "embedder.toy", "preprocess": {"crop": SIDE}}),
            ],
            [EMBEDDING],
            "expected an embedder, got a model of task detection",
        ),
        (
            [
                model("toy.one", "artifact space=embedding embedder=embedder.toy"),
                scripted({**EMBEDDER, "preprocess": {"crop": 8}}),
            ],
            [EMBEDDING],
            "crop=8",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_computed(
    suite: Suite, models: list[dict[str, Any]], references: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(HarnessError, match=message):
        run(suite.write(models, references), Silent())
    assert not (suite.root / "reports" / "references").exists()


def test_an_embedder_that_no_model_names_is_found_in_the_repository(suite: Suite) -> None:
    asked = suite.write([model("toy.one", "artifact space=rgb")], [EMBEDDING])
    with pytest.raises(CardError, match=r"expected an entry .embedder\.toy., got none"):
        run(asked, Silent())


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ({"data": "faces", "space": "rgb"}, "reference rgb of faces/train: the suite has data"),
        ({"data": "pictures", "space": "embedding"}, "space embedding needs an embedder"),
        ({**RGB, "embedder": "embedder.toy"}, "the others take none"),
        ({**RGB, "index": "fast"}, "'exact' or 'approximate'"),
    ],
)
def test_references_that_make_no_sense_are_refused(suite: Suite, reference: dict[str, Any], message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        run(suite.write([scripted(EMBEDDER)], [reference]), Silent())

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness.errors import CardError, DataError, StoreError
from harness.fingerprints.fitting import Embedder, fit_reference
from harness.fingerprints.pixels import content_hashes
from harness.fingerprints.reference import Reference, open_reference
from harness.fingerprints.representations import parse_representation
from harness.fingerprints.spaces import Features, Images, features, rgb
from harness.images import decode
from harness.images.preprocess import Preprocess, preprocess
from harness.spec.suite import ReferenceSpec
from tests.unit.fingerprints.pictures import SIDE, opened, pictures, put

CROP = Preprocess(crop=SIDE)
RGB = ReferenceSpec(data="pictures", space="rgb")
EMBEDDING = ReferenceSpec(data="pictures", space="embedding", embedder="embedder.toy")
COUNT = 24


def quarters(images: Images) -> Features:
    """Mean colours of a picture's quarters: twelve dimensions."""
    half = images.shape[1] // 2
    cut = images.reshape(len(images), 2, half, 2, half, 3).mean(axis=(2, 4))
    return np.asarray(cut.reshape(len(images), 12), np.float32)


def embedder(weights: str = "a" * 64, preprocess: Preprocess = CROP, name: str = "embedder.toy") -> Embedder:
    return Embedder(name, weights, preprocess, 5, quarters)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real images of split train, among generated ones and others that no reference may hold."""
    root = tmp_path_factory.mktemp("data")
    return put(
        root,
        {
            ("train", "nature"): pictures(COUNT),
            ("train", "gan"): pictures(4, seed=1),
            ("test", "nature"): pictures(4, seed=2),
        },
    )


Fit = Callable[..., Reference]


@pytest.fixture
def fit(table: Path, tmp_path: Path) -> Fit:
    def fitted(spec: ReferenceSpec = RGB, embed: Embedder | None = None, preprocess: Preprocess = CROP) -> Reference:
        return fit_reference(spec, opened(table), preprocess, tmp_path / "references", embed)

    return fitted


def test_holds_the_splits_real_images_and_says_what_it_is(fit: Fit, tmp_path: Path) -> None:
    found = fit()
    assert found.about.count == COUNT and found.about.shape == (3, SIDE, SIDE)
    np.testing.assert_array_equal(found.neighbours.features, rgb(pictures(COUNT)).reshape(COUNT, -1))
    assert found.folder == tmp_path / "references" / found.identity[:12]
    said = json.loads((found.folder / "reference.json").read_text())
    assert said["identity"] == found.identity and set(said["files"]) == {"features.npy", "hashes.npy"}
    assert found.described == f"reference {found.identity[:12]}: rgb, pictures/train, 24 images of 3 x 16 x 16, exact"


def test_a_second_time_it_is_opened_as_it_lies_there(fit: Fit) -> None:
    first = fit()
    before = (first.folder / "features.npy").stat().st_mtime_ns
    again = fit()
    assert again.about == first.about == open_reference(first.folder).about
    assert (first.folder / "features.npy").stat().st_mtime_ns == before
    assert [item.name for item in first.folder.parent.iterdir() if item.name.startswith(".")] == []


@pytest.mark.parametrize("space", ["rgb", "frequency", "embedding"])
def test_artifacts_are_what_is_left_of_the_nearest_other_image(fit: Fit, space: str) -> None:
    spec = EMBEDDING if space == "embedding" else ReferenceSpec(data="pictures", space=space)
    embed = embedder() if space == "embedding" else None
    found = fit(spec, embed)
    asked = np.concatenate([pictures(COUNT)[:3], pictures(5, seed=9)])
    known, wanted = (features(spec.space, item, embed).astype(np.float64) for item in (pictures(COUNT), asked))
    distances = np.square(wanted[:, None] - known[None]).reshape(8, COUNT, -1).sum(axis=2)
    distances[np.arange(3), np.arange(3)] = np.inf
    name = f"artifact space={space}" + (" embedder=embedder.toy" if embed else "")
    made = parse_representation(name).bind([found], embed)(asked)
    np.testing.assert_allclose(made, wanted - known[distances.argmin(axis=1)], atol=1e-4)
    assert np.abs(made[:3]).reshape(3, -1).max(axis=1).min() > 0, "a real image is not its own neighbour"


def test_identity_follows_what_artifacts_depend_on(fit: Fit, table: Path, tmp_path: Path) -> None:
    more = put(tmp_path / "more", {("train", "nature"): pictures(COUNT + 1)})
    swapped = put(tmp_path / "swapped", {("train", "nature"): pictures(COUNT)[::-1]})
    identities = [
        fit().identity,
        fit(ReferenceSpec(data="pictures", space="frequency")).identity,
        fit(ReferenceSpec(data="pictures", space="rgb", index="approximate")).identity,
        fit(ReferenceSpec(data="pictures", space="rgb", split="test")).identity,
        fit(EMBEDDING, embedder()).identity,
        fit(EMBEDDING, embedder("b" * 64)).identity,
        fit(preprocess=Preprocess(crop=8)).identity,
        *(fit_reference(RGB, opened(item), CROP, tmp_path / "references").identity for item in (more, swapped)),
    ]
    assert len(set(identities)) == len(identities)


def test_identity_is_of_pixels_not_of_files(fit: Fit, tmp_path: Path) -> None:
    repacked = put(tmp_path / "repacked", {("train", "nature"): pictures(COUNT)}, compress_level=0)
    assert fit_reference(RGB, opened(repacked), CROP, tmp_path / "elsewhere").identity == fit().identity


def test_an_approximate_one_states_its_recall_and_opens_as_it_was_fitted(fit: Fit) -> None:
    found = fit(ReferenceSpec(data="pictures", space="rgb", index="approximate"))
    assert found.about.recall is not None and 0 < found.about.recall <= 1
    asked = rgb(pictures(6, seed=5))
    hashes = content_hashes(pictures(6, seed=5))
    first, again = (item.nearest(asked, hashes) for item in (found, open_reference(found.folder)))
    np.testing.assert_array_equal(first[0], again[0])


@pytest.mark.parametrize("name", ["features.npy", "hashes.npy"])
def test_changed_files_are_refused(fit: Fit, name: str) -> None:
    found = fit()
    path = found.folder / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreError, match=rf"got {name} of another content\. Delete the folder"):
        fit()


@pytest.mark.parametrize(
    ("key", "value"),
    [("identity", "0" * 64), ("files", {"../../secret.npy": "0" * 64}), ("count", 0), ("unknown", 1)],
)
def test_a_changed_description_is_refused(fit: Fit, key: str, value: object) -> None:
    path = fit().folder / "reference.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(StoreError, match="as they were written"):
        fit()


def test_arrays_of_objects_are_never_loaded(fit: Fit) -> None:
    found = fit()
    np.save(found.folder / "hashes.npy", np.array([{}], object), allow_pickle=True)
    said = json.loads((found.folder / "reference.json").read_text())
    said["files"]["hashes.npy"] = hashlib.sha256((found.folder / "hashes.npy").read_bytes()).hexdigest()
    (found.folder / "reference.json").write_text(json.dumps(said))
    with pytest.raises(StoreError, match="got ValueError"):
        fit()


def test_images_of_another_size_are_refused(fit: Fit) -> None:
    make = parse_representation("artifact space=rgb").bind([fit()])
    with pytest.raises(DataError, match="expected features of 3 x 16 x 16, as the reference's, got 3 x 8 x 8"):
        make(pictures(2, side=8))


def test_a_representation_needs_its_own_reference(fit: Fit) -> None:
    with pytest.raises(CardError, match="expected one reference of this space, got 0 among: rgb"):
        parse_representation("artifact space=frequency").bind([fit()])


@pytest.mark.parametrize(
    ("embed", "message"),
    [
        (None, "expected embedder embedder.toy, got none"),
        (embedder(name="embedder.other"), "expected embedder embedder.toy, got embedder.other"),
        (embedder(weights=""), "an endpoint that states its weights"),
        (embedder(preprocess=Preprocess(crop=8)), "crop=8"),
    ],
)
def test_embedders_that_do_not_fit_are_refused_first(fit: Fit, embed: Embedder | None, message: str) -> None:
    with pytest.raises(CardError, match=message):
        fit(EMBEDDING, embed)


def test_references_without_images_or_with_damaged_or_equal_ones_are_refused(fit: Fit, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="pictures/val: expected real images, got none"):
        fit(ReferenceSpec(data="pictures", space="rgb", split="val"))
    same = put(tmp_path / "same", {("train", "nature"): np.repeat(pictures(1), 3, axis=0)})
    with pytest.raises(DataError, match="two different images"):
        fit_reference(RGB, opened(same), CROP, tmp_path / "references")
    sizes = {("train", "nature"): pictures(2), ("train", "nature:gan"): pictures(1, side=8)}
    uneven = put(tmp_path / "uneven", sizes)
    with pytest.raises(DataError, match=r"expected images of \(16, 16\) pixels, got \(8, 8\)"):
        fit_reference(RGB, opened(uneven), Preprocess(), tmp_path / "references")
    damaged = put(tmp_path / "damaged", {("train", "nature"): pictures(2)})
    (damaged.parent / "train/nature/001.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    with pytest.raises(DataError, match=r"data pictures: train/nature/001\.png: .*"):
        fit_reference(RGB, opened(damaged), CROP, tmp_path / "references")
    assert not list((tmp_path / "references").glob("[0-9a-f]*/reference.json"))


def test_real_photographs_are_held_against_other_photographs(discern_data: Path, tmp_path: Path) -> None:
    paths = sorted((discern_data / "imagenet").glob("*.JPEG"))[:32]
    crop = Preprocess(resize=64, crop=64)
    photographs = np.stack([preprocess(decode(path.read_bytes()), crop) for path in paths])
    table = put(tmp_path / "photographs", {("train", "nature"): photographs})
    for space in ("rgb", "frequency"):
        spec = ReferenceSpec(data="pictures", space=space)
        found = fit_reference(spec, opened(table), Preprocess(crop=64), tmp_path / "references")
        rows, distances = found.nearest(known := features(spec.space, photographs), content_hashes(photographs))
        expected = np.square(known[:, None].astype(np.float64) - known[None]).reshape(32, 32, -1).sum(axis=2)
        np.fill_diagonal(expected, np.inf)
        np.testing.assert_array_equal(rows, expected.argmin(axis=1))
        np.testing.assert_allclose(distances, expected.min(axis=1), rtol=1e-6)

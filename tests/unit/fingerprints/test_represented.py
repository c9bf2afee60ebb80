import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from harness.backends.base import EndpointOptions
from harness.backends.scripted import Script, ScriptedBackend
from harness.card import Card
from harness.errors import DataError, EndpointRefused
from harness.fingerprints.represented import Remembering, RepresentedBackend
from harness.fingerprints.spaces import Features, Images, rgb
from tests.unit.fingerprints.pictures import pictures


class Counting:
    """Makes pixels, slowly enough for others to come, and counts."""

    def __init__(self) -> None:
        self.calls = 0
        self.open = threading.Event()
        self.open.set()

    def __call__(self, images: Images) -> Features:
        self.calls += 1
        assert self.open.wait(10)
        return rgb(images)


def test_models_that_share_a_representation_make_a_batch_once() -> None:
    make = Counting()
    shared = Remembering(make)
    first, second = pictures(3), pictures(3, seed=1)
    for batch in (first, second):
        for _ in range(5):
            np.testing.assert_array_equal(shared(batch.copy()), rgb(batch))
    assert make.calls == 2


def test_a_batch_being_made_is_waited_for() -> None:
    make = Counting()
    make.open.clear()
    shared = Remembering(make)
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(shared, pictures(2)) for _ in range(4)]
        make.open.set()
        assert all((future.result() == rgb(pictures(2))).all() for future in asked)
    assert make.calls == 1


def test_only_the_latest_batches_are_kept() -> None:
    make = Counting()
    shared = Remembering(make, most=2)
    for seed in (0, 1, 0, 2, 0, 1):
        shared(pictures(1, seed=seed))
    assert make.calls == 4, "0 stays, being asked again; 1 makes place for 2"


def test_what_is_kept_can_not_be_changed_by_who_asked() -> None:
    shared = Remembering(rgb)
    with pytest.raises(ValueError, match="read-only"):
        shared(pictures(1))[0, 0, 0, 0] = 7


def test_a_failure_is_told_and_tried_again() -> None:
    turns = iter([DataError("not yet"), None])

    def make(images: Images) -> Features:
        if (error := next(turns)) is not None:
            raise error
        return rgb(images)

    shared = Remembering(make)
    with pytest.raises(DataError, match="not yet"):
        shared(pictures(1))
    assert shared(pictures(1)).shape == (1, 3, 16, 16)


def test_the_model_behind_is_asked_about_the_representation() -> None:
    inner = ScriptedBackend("scripted:", Script(card=Card(name="toy.bright")), EndpointOptions())
    backend = RepresentedBackend(inner, "image", lambda images: rgb(images) * 2)
    answered = backend.infer({"image": pictures(3)})["score"]
    np.testing.assert_allclose(answered[:, 0], pictures(3).mean(axis=(1, 2, 3)) / 255 * 2, rtol=1e-4)
    assert (backend.info(), backend.endpoint, backend.options) == (inner.info(), inner.endpoint, inner.options)


def test_images_that_do_not_fit_cost_their_records_not_the_run() -> None:
    def refuse(images: Images) -> Features:
        raise DataError("artifacts: expected another size")

    inner = ScriptedBackend("scripted:", Script(card=Card(name="toy.bright")), EndpointOptions())
    with pytest.raises(EndpointRefused, match="expected another size"):
        RepresentedBackend(inner, "image", refuse).infer({"image": pictures(1)})
    assert inner.requests == 0

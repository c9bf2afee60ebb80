"""What the harness costs beside the model itself: each figure is a ratio of two things timed by turns in one run.

The floors are what a quiet machine keeps with room to spare; they catch a harness that got slow, not a busy machine.
The measured ratio is in the benchmark's `extra_info`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest

from harness.engines import answer
from harness.events import Silent
from harness.images import decode
from harness.images.preprocess import preprocess
from harness.plan import make_plan
from harness.run import Asked, Prepared, prepare, run
from harness.serving import find_tritonserver
from harness.store.cells import CellStore
from harness.store.runs import RunStore

SUITE = """\
name: bench
repository: {repository}
data: {{d: {{layout: real_fake, root: {root}}}}}
models: [{{name: dif.bench, options: {{batch: 8}}}}]
resamples: 200
tasks: [{{kind: detection, name: bench, data: d, audit: false}}]
"""

Ratio = Callable[..., float]


@pytest.fixture
def asked(bank_repository: Path, photographs: Path, tmp_path: Path) -> Asked:
    suite = tmp_path / "bench.yaml"
    suite.write_text(SUITE.format(repository=bank_repository, root=photographs), encoding="utf-8")
    return Asked(suite, out=tmp_path / "out")


@contextmanager
def answering(asked: Asked, serve: bool = False) -> Iterator[tuple[Prepared, Callable[[], None]]]:
    """Open a suite and return what answers all of it anew: decode, degrade, preprocess, infer, record."""
    store = RunStore(asked.out)
    with prepare(Asked(asked.suite, out=asked.out, serve=serve), store, Silent()) as ready:
        plan = make_plan(ready.suite, ready.models, ready.datasets)

        def once() -> None:
            answer(plan.cells, ready.models, ready.datasets, CellStore(asked.out / uuid4().hex), 0, Silent())

        yield ready, once


def test_in_process_against_the_bare_session(asked: Asked, ratio: Ratio) -> None:
    with answering(asked) as (ready, once):
        model, data = ready.models["dif.bench"], ready.datasets["d"]
        spec = model.card.preprocess
        tensors = [
            preprocess(decode(data.read(sample)), spec)
            for info in data.subsets()
            for sample in data.samples(info.subset, info.split)
        ]
        batches = [np.stack(tensors[start : start + 8]) for start in range(0, len(tensors), 8)]
        session = model.backend._session  # type: ignore[attr-defined]
        found = ratio(once, lambda: [session.run(None, {model.card.input: batch}) for batch in batches])
    assert found > 0.75


@pytest.mark.triton
def test_served_against_in_process(asked: Asked, ratio: Ratio) -> None:
    if find_tritonserver() is None:
        pytest.skip("no tritonserver here: the extra `serve` is not installed")
    with answering(asked) as (_, here), answering(asked, serve=True) as (_, served):
        assert ratio(served, here) > 0.65


def test_a_second_run_against_the_first(asked: Asked, ratio: Ratio) -> None:
    asked = Asked(asked.suite, ("resamples=2000",), out=asked.out)

    def first() -> None:
        run(Asked(asked.suite, asked.settings, asked.out / uuid4().hex), Silent())

    run(asked, Silent())
    assert ratio(lambda: run(asked, Silent()), first, rounds=1) > 20

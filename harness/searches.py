"""Answers search cells: seeds from what both models said, searches, verification, records. Computes no figure."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from harness.data.sample import Dataset, Sample
from harness.engines import FLUSH_S
from harness.errors import EndpointError, ImageError
from harness.events import Events
from harness.images import decode
from harness.images.preprocess import preprocess
from harness.images.quality import distance
from harness.models import Model
from harness.plan import Cell, SearchCell
from harness.search.hunts import Hunted, Pair, Seed
from harness.search.margins import margin
from harness.search.oracle import Oracle, to_lattice
from harness.search.registry import parse_searcher
from harness.search.requests import Floats
from harness.search.verify import to_png, verify
from harness.store.cells import CellStore
from harness.store.runs import RunStore
from harness.store.searches import SearchRecord
from harness.tasks.answers import scores_of

WIDTH = 2
"""Searches under way, in batches of the white model: while some ask for gradients, others ask for answers."""


def search(
    cells: Sequence[SearchCell],
    models: Mapping[str, Model],
    datasets: Mapping[str, Dataset],
    store: RunStore,
    seed: int,
    events: Events,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Search from every open seed of the cells; records are on disk when this returns or raises.

    Args:
        cells: searches whose seeds' cells are answered.
        models: opened models, gradient entries among them.
        datasets: opened data sets.
        store: where answers are and records go.
        seed: the suite's.
        events: receives progress.
        clock: seconds.

    Raises:
        EndpointUnavailable, EndpointTimeout: an endpoint is gone.
        StoreError: the disk refuses.
    """
    if not cells:
        return
    total, done, found = sum(cell.images for cell in cells), 0, 0
    events.begin("searching", total, "images")
    try:
        for number, cell in enumerate(cells, start=1):
            closed = {int(position) for position in store.searches.answered(cell.key)}
            done += len(closed)
            name = f"{number}/{len(cells)} {cell.searcher.partition(' ')[0]}"
            events.advance(done, total, f"{name}, {found} found")
            writer = _Writer(store.searches, cell.key, clock)
            try:
                for record in _search(cell, models, datasets[cell.seeds[0].data], store.cells, seed, closed):
                    writer.add(record)
                    done += 1
                    found += record.outcome == "found"
                    events.advance(done, total, f"{name}, {found} found")
            finally:
                writer.flush()
    finally:
        events.end()


@dataclass
class _Writer:
    """Has records on disk soon after they came."""

    store: CellStore
    key: str
    clock: Callable[[], float]
    records: list[SearchRecord] = field(default_factory=list)
    flushed: float = 0.0

    def add(self, record: SearchRecord) -> None:
        """Take a record."""
        self.flushed = self.flushed if self.records else self.clock()
        self.records.append(record)
        if self.clock() - self.flushed > FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Write what there is."""
        records, self.records = self.records, []
        self.store.append(self.key, records)


def _search(
    cell: SearchCell,
    models: Mapping[str, Model],
    data: Dataset,
    answers: CellStore,
    seed: int,
    closed: Collection[int],
) -> Iterator[SearchRecord]:
    """Yield the records of one cell's open images, as they come."""
    roles = cell.roles
    pair = Pair(
        Oracle(models[roles.white]),
        Oracle(models[roles.black]),
        Oracle(models[roles.gradient]) if roles.gradient else None,
        lent=roles.lent_gradient,
    )
    known = _Known(cell, answers)
    samples: dict[int, Sample] = {}
    failed: list[SearchRecord] = []
    spec = pair.white.model.card.preprocess
    take = (spec.ready if data.ready else spec).pixels

    def seeds() -> Iterator[Seed]:
        group = cell.seeds[0]
        for position, sample in enumerate(
            data.samples(group.subset, group.split, group.sample.per_subset, group.sample.seed)
        ):
            if position in closed:
                continue
            begun = known.about(position, sample)
            if isinstance(begun, SearchRecord):
                failed.append(begun)
                continue
            try:
                pixels = preprocess(decode(data.read(sample)), take)
            except ImageError as error:
                failed.append(replace(_row(position, sample), error=f"image:{error.reason}", detail=str(error)))
                continue
            samples[position] = sample
            yield Seed(position, sample.path, pixels, *begun)

    width = WIDTH * pair.white.model.backend.options.batch
    for hunted in parse_searcher(cell.searcher).search(seeds(), pair, seed, width):
        yield from failed
        failed.clear()
        yield _concluded(pair, hunted, samples.pop(hunted.seed.position))
    yield from failed


class _Known:
    """What both models said of a cell's images before any search.

    Args:
        cell: names the cells that they said it in.
        answers: where these are.
    """

    def __init__(self, cell: SearchCell, answers: CellStore) -> None:
        self.rule = cell.rule
        self.tables = [_Table(answers, item) for item in cell.seeds]

    def about(self, position: int, sample: Sample) -> tuple[Floats, Floats] | SearchRecord:
        """Return the white and the black model's logits at batch 1, or why this image is no seed."""
        row = _row(position, sample)
        for table in self.tables:
            if (why := table.failure(position)) is not None:
                return replace(row, error=why[0], detail=why[1])
        batched, alone = self.tables[:2], self.tables[2:]
        white, black = (table.scores(position) for table in alone)
        label = int(white.argmax())
        if len({int(table.scores(position).argmax()) for table in batched}) > 1:
            return replace(row, outcome="pre_existing")
        if label != int(black.argmax()):
            return replace(row, outcome="appeared")
        if self.rule == "agree_and_correct" and label != sample.target:
            return replace(row, outcome="incorrect", label=label)
        return white, black


class _Table:
    """One cell's answers by position."""

    def __init__(self, store: CellStore, cell: Cell) -> None:
        table = store.read(cell.key)
        self.errors = dict(zip(table["position"].to_pylist(), table["error"].to_pylist(), strict=True))
        self.details = dict(zip(table["position"].to_pylist(), table["detail"].to_pylist(), strict=True))
        good = table.filter([error is None for error in table["error"].to_pylist()])
        positions = good["position"].to_pylist()
        width = len(good["scores"][0]) if positions else 0
        self._scores = scores_of(good, width)
        self._rows = {position: row for row, position in enumerate(positions)}

    def failure(self, position: int) -> tuple[str, str] | None:
        """Return why there is no answer."""
        if position not in self.errors:
            return "endpoint:missing", "no answer on disk"
        error = self.errors[position]
        return None if error is None else (error, self.details[position] or "")

    def scores(self, position: int) -> Floats:
        """Return float32 (classes,)."""
        return np.asarray(self._scores[self._rows[position]], np.float32)


def _row(position: int, sample: Sample) -> SearchRecord:
    return SearchRecord(position, sample.path, sample.source, sample.target)


def _concluded(pair: Pair, hunted: Hunted, sample: Sample) -> SearchRecord:
    """Verify what a search kept, and say what came of it."""
    seed, spent, first = hunted.seed, hunted.spent, hunted.first
    row = replace(
        _row(seed.position, sample),
        label=seed.label,
        white_queries=spent.white,
        black_queries=spent.black,
        gradients=spent.gradients,
        seconds=spent.seconds,
        first_white=first.white if first else None,
        first_black=first.black if first else None,
        first_gradients=first.gradients if first else None,
    )
    kept = hunted.kept
    if hunted.failure is not None:
        png = to_png(to_lattice(kept)) if kept is not None else None
        return replace(row, error=hunted.failure[0], detail=hunted.failure[1], png=png)
    if kept is None:
        return replace(row, outcome="not_found")
    before = distance(kept, seed.pixels)
    try:
        seen = verify(pair, kept)
    except EndpointError as error:
        return replace(row, error=f"endpoint:{error.reason}", detail=str(error), png=to_png(to_lattice(kept)))
    after = distance(seen.pixels, seed.pixels)
    white, black = int(seen.white.argmax()), int(seen.black.argmax())
    return replace(
        row,
        outcome=seen.outcome,
        white_class=white,
        black_class=black,
        white_margin=margin(seen.white, white),
        black_margin=margin(seen.black, black),
        l2=after.l2,
        linf=after.linf,
        psnr=after.psnr,
        ssim=after.ssim,
        float_psnr=before.psnr,
        float_ssim=before.ssim,
        sha256=seen.sha256,
        png=seen.png,
    )

"""Task `disagreement`: how often, how near and at what cost each searcher finds what two models decide differently."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from harness.card import Card
from harness.pairs import Roles
from harness.plan import SearchCell
from harness.search.difffinder_cw import DiffFinderCw
from harness.search.registry import parse_searcher
from harness.spec.tasks import DisagreementTask, SearchClaimSpec
from harness.stats import Estimate, bootstrap_mean, holm, mcnemar, pairwise, ranks_with_ties
from harness.store.cells import CellStore
from harness.store.searches import NO_SEED, SEARCH_SCHEMA

BUDGETS = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Places of the curves."""

MOST_SHOWN = 4
"""Found images of each searcher that are kept for pictures."""

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Shown:
    """A found image: its seed's path, its file, and both decisions."""

    sample: str
    png: bytes
    white_class: int
    black_class: int
    psnr: float


@dataclass(frozen=True)
class SearchFigures:
    """One searcher on one pair.

    Attributes:
        roles: the pair.
        searcher: its title.
        seeds: searches that ended.
        outcomes: how many images came to which outcome, those that were no seeds among them.
        failures: failed records by reason.
        estimates: ``sr_float`` and ``sr_8bit``, shares of the seeds with Wilson intervals; over 8-bit successes
            ``psnr`` (dB), ``ssim``, ``l2``, ``linf`` (grey levels) with bootstrap intervals clustered by source image;
            over all seeds ``seconds``, likewise.
        queries: medians and 95th percentiles over all seeds: ``black``, ``black_p95``, ``white``, ``white_p95``,
            ``gradients``, ``gradients_p95``; and over 8-bit successes what had been spent when the first image was
            kept: ``first_black``, ``first_white``, ``first_gradients``. nan where there are none.
        curves: 8-bit success rate within each of :data:`BUDGETS`: ``black``, queries to the black model, and ``all``,
            queries to either and gradients.
        rank: by 8-bit success rate among the pair's searchers; those that McNemar's test (Holm, 5 %) can't tell apart
            share one.
        shown: some of what it found.
    """

    roles: Roles
    searcher: str
    seeds: int
    outcomes: Mapping[str, int]
    failures: Mapping[str, int]
    estimates: Mapping[str, Estimate]
    queries: Mapping[str, float]
    curves: Mapping[str, tuple[Estimate, ...]]
    rank: int
    shown: Sequence[Shown]


@dataclass(frozen=True)
class Duel:
    """Two searchers on the same seeds of one pair.

    Attributes:
        roles: the pair.
        first, second: titles.
        seeds: both searched from.
        only_first, only_second: seeds that one alone found an 8-bit image from.
        p: McNemar's p-value that both find equally often, Holm-adjusted over the pair's duels.
        psnr: mean difference, first minus second, in dB over seeds that both found from, with a bootstrap interval
            clustered by source image.
    """

    roles: Roles
    first: str
    second: str
    seeds: int
    only_first: int
    only_second: int
    p: float
    psnr: Estimate


@dataclass(frozen=True)
class SeedRow:
    """A row of the table published with Diff-Finder, counted as it was there.

    Attributes:
        black: the quantized model.
        c, iterations, images: of the search.
        psnr: mean over images that changed, in dB, before rounding.
        ssim: mean over all images, where one without success counts 1.
        success_rate: on float tensors, over all images.
        claim: the published row; None where there is none.
        measured: whether this run measured it.
    """

    black: str
    c: float
    iterations: int
    images: int
    psnr: float
    ssim: float
    success_rate: float
    claim: SearchClaimSpec | None
    measured: bool


@dataclass(frozen=True)
class Disagreement:
    """All figures of one disagreement task.

    Attributes:
        task: its spec.
        rows: a searcher on a pair each, in the suite's order.
        duels: every two searchers of a pair.
        seed_rows: the published table; empty unless the task's protocol asks for it.
        records, failures: images times searches, and how many failed, by reason.
    """

    task: DisagreementTask
    rows: Sequence[SearchFigures]
    duels: Sequence[Duel]
    seed_rows: Sequence[SeedRow]
    records: int
    failures: Mapping[str, int]

    @property
    def pairs(self) -> list[str]:
        """Names of the pairs."""
        return list(dict.fromkeys(row.roles.name for row in self.rows))

    def of(self, pair: str) -> list[SearchFigures]:
        """Return a pair's rows, best first."""
        rows = [row for row in self.rows if row.roles.name == pair]
        return sorted(rows, key=lambda row: (row.rank, -np.nan_to_num(row.estimates["psnr"].value)))


def evaluate_disagreement(
    task: DisagreementTask,
    cells: Sequence[SearchCell],
    cards: Mapping[str, Card],
    store: CellStore,
    resamples: int,
    seed: int,
) -> Disagreement:
    """Compute every figure of a task from its records.

    Args:
        task: the task.
        cells: its searches.
        cards: the models' cards; made-up weights measure no claim.
        store: where the records are.
        resamples, seed: of the bootstrap.
    """
    rows: list[SearchFigures] = []
    duels: list[Duel] = []
    seed_rows: list[SeedRow] = []
    for pair in dict.fromkeys(cell.roles.name for cell in cells):
        searches = {
            name: _read(store, [cell for cell in cells if (cell.roles.name, cell.searcher) == (pair, name)])
            for name in task.searchers
        }
        ranks = _ranks(searches)
        duels += _duels(searches, resamples, seed)
        shown = _shared(searches)
        for name, found in searches.items():
            rows.append(_figures(found, ranks[name], _pictures(store, found, shown), resamples, seed))
            if task.protocol == "seed" and (row := _seed_row(name, found, task, cards)):
                seed_rows.append(row)
    claimed = [row.claim for row in seed_rows]
    if task.protocol == "seed":
        seed_rows += [_not_measured(claim) for claim in task.claims if claim not in claimed]
    failures = sum((Counter(row.failures) for row in rows), Counter[str]())
    records = sum(cell.images for cell in cells)
    return Disagreement(task, rows, duels, seed_rows, records, dict(sorted(failures.items())))


@dataclass(frozen=True)
class _Searches:
    """One searcher's records on one pair: all columns but the files, and the cells that they are of."""

    cells: Sequence[SearchCell]
    records: pd.DataFrame

    @property
    def roles(self) -> Roles:
        return self.cells[0].roles

    @property
    def title(self) -> str:
        return parse_searcher(self.cells[0].searcher).title

    @property
    def ended(self) -> pd.DataFrame:
        """The searches that ended, by image."""
        outcome = self.records["outcome"]
        return self.records[outcome.notna() & ~outcome.isin(NO_SEED)]


def _read(store: CellStore, cells: Sequence[SearchCell]) -> _Searches:
    columns = [name for name in SEARCH_SCHEMA.names if name != "png"]
    table = pa.concat_tables([store.read(cell.key, columns) for cell in cells])
    return _Searches(cells, table.to_pandas().set_index("sample", drop=False))


def _figures(found: _Searches, rank: int, shown: Sequence[Shown], resamples: int, seed: int) -> SearchFigures:
    records, ended = found.records, found.ended
    good = ended[ended["outcome"] == "found"]
    failures = Counter(records["error"].dropna())
    missing = sum(cell.images for cell in found.cells) - len(records)
    failures.update({"missing": missing} if missing else {})

    def mean(frame: pd.DataFrame, column: str) -> Estimate:
        values = frame[column].to_numpy(np.float64)
        return bootstrap_mean(values, frame["source"].to_numpy(str), resamples, seed)

    spent = {"black": "black_queries", "white": "white_queries", "gradients": "gradients"}
    queries = {name: _quantile(ended[column], 0.5) for name, column in spent.items()}
    queries |= {f"{name}_p95": _quantile(ended[column], 0.95) for name, column in spent.items()}
    queries |= {f"first_{name}": _quantile(good[f"first_{name}"], 0.5) for name in spent}
    everything = good["first_black"] + good["first_white"] + good["first_gradients"]
    curves = {"black": good["first_black"], "all": everything}
    return SearchFigures(
        roles=found.roles,
        searcher=found.title,
        seeds=len(ended),
        outcomes=dict(Counter(records["outcome"].dropna())),
        failures=dict(sorted(failures.items())),
        estimates={
            "sr_float": Estimate.of_rate(int((ended["outcome"] != "not_found").sum()), len(ended)),
            "sr_8bit": Estimate.of_rate(len(good), len(ended)),
            **{name: mean(good, name) for name in ("psnr", "ssim", "l2", "linf")},
            "seconds": mean(ended, "seconds"),
        },
        queries=queries,
        curves={
            name: tuple(Estimate.of_rate(int((cost <= budget).sum()), len(ended)) for budget in BUDGETS)
            for name, cost in curves.items()
        },
        rank=rank,
        shown=shown,
    )


def _ranks(searches: Mapping[str, _Searches]) -> dict[str, int]:
    """Rank a pair's searchers by 8-bit success."""
    names = list(searches)
    p = pairwise(len(names), lambda i, j: mcnemar(*_successes(searches[names[i]], searches[names[j]])))
    rates = [float((item.ended["outcome"] == "found").mean()) if len(item.ended) else 0.0 for item in searches.values()]
    return dict(zip(names, ranks_with_ties(rates, p), strict=True))


def _successes(first: _Searches, second: _Searches) -> tuple[Bools, Bools]:
    """Return whether each of two found an image, over the seeds that both searched from."""
    a, b = first.ended, second.ended
    both = a.index.intersection(b.index)
    return tuple((frame.loc[both, "outcome"] == "found").to_numpy(bool) for frame in (a, b))


def _duels(searches: Mapping[str, _Searches], resamples: int, seed: int) -> list[Duel]:
    found = []
    for first, second in itertools.combinations(searches.values(), 2):
        a, b = _successes(first, second)
        frames = [item.ended[item.ended["outcome"] == "found"] for item in (first, second)]
        both = frames[0].index.intersection(frames[1].index)
        change = (frames[0].loc[both, "psnr"] - frames[1].loc[both, "psnr"]).to_numpy(np.float64)
        sources = frames[0].loc[both, "source"].to_numpy(str)
        found.append(
            Duel(
                roles=first.roles,
                first=first.title,
                second=second.title,
                seeds=len(a),
                only_first=int((a & ~b).sum()),
                only_second=int((b & ~a).sum()),
                p=mcnemar(a, b),
                psnr=bootstrap_mean(change, sources, resamples, seed),
            )
        )
    return [replace(duel, p=p) for duel, p in zip(found, holm([duel.p for duel in found]), strict=True)]


def _shared(searches: Mapping[str, _Searches]) -> list[str]:
    """Return the seeds that most searchers found an image from."""
    times: Counter[str] = Counter()
    for item in searches.values():
        times.update(sorted(item.ended.index[item.ended["outcome"] == "found"]))
    return [name for name, _ in times.most_common(MOST_SHOWN)]


def _pictures(store: CellStore, found: _Searches, samples: Sequence[str]) -> list[Shown]:
    columns = ["sample", "outcome", "png", "white_class", "black_class", "psnr"]
    shown = {}
    for cell in found.cells:
        for row in store.read(cell.key, columns).filter(_is_found(samples)).to_pylist():
            shown[row["sample"]] = Shown(**{name: row[name] for name in columns if name != "outcome"})
    return [shown[name] for name in samples if name in shown]


def _is_found(samples: Sequence[str]) -> pc.Expression:
    return (pc.field("outcome") == "found") & pc.field("sample").isin(pa.array(samples, pa.string()))


def _seed_row(name: str, found: _Searches, task: DisagreementTask, cards: Mapping[str, Card]) -> SeedRow | None:
    """Count a search by ``difffinder_cw``, along the white model's own gradient, as Diff-Finder's evaluation does."""
    searcher = parse_searcher(name)
    if not isinstance(searcher, DiffFinderCw) or found.roles.lent_gradient:
        return None
    ended = found.ended
    black = found.roles.black
    changed = ended["outcome"] != "not_found"
    claims = [
        item
        for item in task.claims
        if (item.black, item.c, item.iterations) == (black, searcher.c, searcher.iterations)
    ]
    return SeedRow(
        black=black,
        c=searcher.c,
        iterations=searcher.iterations,
        images=len(ended),
        psnr=float(ended.loc[changed, "float_psnr"].mean()),
        ssim=float(ended["float_ssim"].where(changed, 1.0).mean()),
        success_rate=float(changed.mean()) if len(ended) else float("nan"),
        claim=claims[0] if claims else None,
        measured=not any(_made_up(cards[role]) for role in (found.roles.white, black)),
    )


def _made_up(card: Card) -> bool:
    """Whether a model's weights are drawn from a seed."""
    return str(card.training.get("weights", "")).startswith("seeded")


def _not_measured(claim: SearchClaimSpec) -> SeedRow:
    nan = float("nan")
    return SeedRow(claim.black, claim.c, claim.iterations, 0, nan, nan, nan, claim, measured=False)


def _quantile(values: pd.Series[float], share: float) -> float:
    return float(values.quantile(share)) if len(values) else float("nan")

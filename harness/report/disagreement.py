"""The report of a disagreement task: which figures stand where, and in what words. Computes none of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from harness.report.tree import Block, Cell, Column, Curves, Section, Sheet, Table, Text, Tile
from harness.store.searches import NO_SEED
from harness.tasks.disagreement import BUDGETS, Disagreement, SearchFigures

OUTCOMES = {
    "pre_existing": "disagreed before",
    "appeared": "disagreed once alone and 8-bit",
    "incorrect": "not right",
    "not_found": "not found",
    "lost_on_rounding": "lost on rounding",
    "lost_on_reserving": "lost on re-serving",
    "found": "found",
}


def disagreement_sections(found: Disagreement, tiles: Mapping[str, Sequence[Tile]], many: bool) -> Iterator[Section]:
    """Lay out one task.

    Args:
        found: its figures.
        tiles: found images by pair.
        many: whether the report has other tasks, so that headings have to name theirs.
    """
    name = found.task.name
    prefix = f"{name}: " if many else ""
    for number, pair in enumerate(found.pairs):
        blocks: list[Block] = [_leaderboard(found.of(pair), f"{name}_{number}_leaderboard", pair)]
        blocks += [Text(said) for said in _words(found.of(pair))]
        yield Section(f"{prefix}{pair}", tuple(blocks), _INTRO if number == 0 else "")
    if found.seed_rows:
        yield Section(f"{prefix}As Diff-Finder counted", (_seed_table(found),), _SEED_INTRO)
    yield Section(f"{prefix}What became of the images", (_outcomes(found),), _OUTCOME_INTRO)
    for number, pair in enumerate(found.pairs):
        if tiles.get(pair):
            title = "Originals, then what each searcher found above its difference from the original, amplified"
            sheet = Sheet(f"{name}_{number}_found", title, tuple(tiles[pair]))
            yield Section(f"{prefix}Found images, {pair}", (sheet,), detail=True)
    yield Section(f"{prefix}Success against budget", tuple(_curves(found)), _CURVE_INTRO, detail=True)
    yield Section(f"{prefix}What searches asked for", (_costs(found),), _COST_INTRO, detail=True)
    if found.duels:
        yield Section(f"{prefix}Searchers against each other", (_duels(found),), _DUEL_INTRO, detail=True)


_INTRO = (
    "Both models decide the seeds alike. SR 8-bit is the share of seeds from which an image was found that, rounded to"
    " 8 bits, written as PNG, read back and asked again at batch 1, both endpoints still decide differently; SR float"
    " is the share before rounding. Searchers that McNemar's test can't tell apart by SR 8-bit (Holm, 5 %) share a"
    " rank."
    " PSNR, SSIM, L2 (values in [0, 1]) and Linf (grey levels) are means over the 8-bit successes; failures have none."
    " Queries and gradients are medians (95th percentiles) over all seeds, seconds are means. In A -> B, A is the white"
    " model, whose gradient may be followed, and B the black one, which only answers."
)

_SEED_INTRO = (
    "The figures of `difffinder_cw` by the rules of its own evaluation: success on float tensors before any rounding,"
    " PSNR over the images that changed, SSIM over all images with 1 for a failure. Claims stand beside them."
)

_OUTCOME_INTRO = (
    "Images that the models decided differently from the start, or only as 8-bit files asked one at a time, are no"
    " seeds. Lost on rounding: it was one before it had 8 bits. Lost on re-serving: it still was one then, but not"
    " from the file at batch 1."
)

_CURVE_INTRO = (
    "Share of the seeds from which an image that holds as 8-bit PNG was found, by what had been spent when the search"
    " first kept one."
)

_COST_INTRO = (
    "Medians and 95th percentiles over all seeds; at the first, medians of what had been spent when an image was first"
    " kept, over the 8-bit successes."
)

_DUEL_INTRO = (
    "On the same seeds. p is McNemar's, that both find equally often, Holm-adjusted over the pair's duels. The PSNR"
    " difference, first minus second, is over seeds that both found from."
)


def _leaderboard(rows: Sequence[SearchFigures], name: str, pair: str) -> Table:
    columns = (
        Column("rank", "rank", "int"),
        Column("searcher", "searcher"),
        Column("sr_8bit", "SR 8-bit", "percent", "high"),
        Column("sr_float", "SR float", "percent", "high"),
        Column("psnr", "PSNR, dB", "float", "high"),
        Column("ssim", "SSIM", "float", "high"),
        Column("l2", "L2", "float", "low"),
        Column("linf", "Linf", "float", "low"),
        Column("black", "queries to black"),
        Column("white", "queries to white"),
        Column("gradients", "gradients"),
        Column("seconds", "seconds", "float", "low"),
        Column("seeds", "seeds", "int"),
    )
    said: tuple[Mapping[str, Cell], ...] = tuple(
        {
            "rank": row.rank,
            "searcher": row.searcher,
            "seeds": row.seeds,
            **{key: _spent(row.queries[key], row.queries[f"{key}_p95"]) for key in ("black", "white", "gradients")},
            **row.estimates,
        }
        for row in rows
    )
    return Table(name, pair, columns, said)


def _spent(median: float, most: float) -> str | None:
    return None if median != median else f"{median:.4g} ({most:.4g})"


def _words(rows: Sequence[SearchFigures]) -> Iterator[str]:
    searched = sum(row.seeds for row in rows)
    if not searched:
        yield "There was no seed to search from: see what became of the images."
    elif not any(row.outcomes.get("found") for row in rows):
        yield (
            f"Nothing was found in {searched} searches: within their budgets, the two models decide alike on all that"
            " was tried. They may be the same model."
        )


def _seed_table(found: Disagreement) -> Table:
    columns = (
        Column("model", "model"),
        Column("c", "c", "float"),
        Column("iterations", "iterations", "int"),
        Column("images", "images", "int"),
        Column("psnr", "PSNR", "float"),
        Column("ssim", "SSIM", "float"),
        Column("success_rate", "SR", "percent"),
        Column("claimed_images", "claimed: images", "int"),
        Column("claimed_psnr", "claimed: PSNR", "float"),
        Column("claimed_ssim", "claimed: SSIM", "float"),
        Column("claimed_success_rate", "claimed: SR", "percent"),
        Column("standing", "standing"),
        Column("source", "source"),
    )
    rows = []
    for row in found.seed_rows:
        said: dict[str, Cell] = {
            "model": row.black,
            "c": row.c,
            "iterations": row.iterations,
            "images": row.images or None,
            "psnr": row.psnr,
            "ssim": row.ssim,
            "success_rate": row.success_rate,
            "standing": "measured" if row.measured else "not measured here",
        }
        if row.claim:
            said |= {
                "claimed_images": row.claim.images,
                "claimed_psnr": row.claim.psnr,
                "claimed_ssim": row.claim.ssim,
                "claimed_success_rate": row.claim.success_rate,
                "source": row.claim.source,
            }
        if row.images and not row.measured:
            said["standing"] = "not measured here: these weights are not trained ones"
        rows.append(said)
    return Table(f"{found.task.name}_as_published", "Diff-Finder's table", columns, tuple(rows))


def _outcomes(found: Disagreement) -> Table:
    failed = any(row.failures for row in found.rows)
    shown = [key for key in OUTCOMES if key not in NO_SEED or any(row.outcomes.get(key) for row in found.rows)]
    columns = (
        Column("pair", "pair"),
        Column("searcher", "searcher"),
        Column("seeds", "seeds", "int"),
        *(Column(key, OUTCOMES[key], "int") for key in shown),
        *((Column("failed", "failed", "int"), Column("why", "why")) if failed else ()),
    )
    rows: tuple[Mapping[str, Cell], ...] = tuple(
        {
            "pair": row.roles.name,
            "searcher": row.searcher,
            "seeds": row.seeds,
            **{key: row.outcomes.get(key, 0) for key in shown},
            "failed": sum(row.failures.values()),
            "why": ", ".join(f"{count} {reason}" for reason, count in row.failures.items()),
        }
        for row in found.rows
    )
    return Table(f"{found.task.name}_outcomes", "Images by outcome", columns, rows)


def _costs(found: Disagreement) -> Table:
    names = {"black": "queries to black", "white": "queries to white", "gradients": "gradients"}
    columns = [Column("pair", "pair"), Column("searcher", "searcher")]
    for key, title in names.items():
        columns += [
            Column(key, title, "float"),
            Column(f"{key}_p95", "95 %", "float"),
            Column(f"first_{key}", "at the first", "float"),
        ]
    rows: tuple[Mapping[str, Cell], ...] = tuple(
        {"pair": row.roles.name, "searcher": row.searcher, **row.queries} for row in found.rows
    )
    return Table(f"{found.task.name}_costs", "Queries and gradients a seed", tuple(columns), rows)


def _curves(found: Disagreement) -> Iterator[Curves]:
    titles = {"black": "queries to the black model", "all": "queries to either model and gradients, together"}
    for number, pair in enumerate(found.pairs):
        for key, title in titles.items():
            yield Curves(
                f"{found.task.name}_{number}_budget_{key}",
                f"{pair}: SR 8-bit by {title}",
                tuple(map(str, BUDGETS)),
                {row.searcher: row.curves[key] for row in found.of(pair)},
                y_title="SR 8-bit",
                x_title=title,
                kind="percent",
                chance=None,
            )


def _duels(found: Disagreement) -> Table:
    columns = (
        Column("pair", "pair"),
        Column("first", "first"),
        Column("second", "second"),
        Column("seeds", "seeds", "int"),
        Column("only_first", "only first", "int"),
        Column("only_second", "only second", "int"),
        Column("p", "p", "float"),
        Column("psnr", "PSNR difference, dB", "float"),
    )
    rows: tuple[Mapping[str, Cell], ...] = tuple(
        {
            "pair": duel.roles.name,
            "first": duel.first,
            "second": duel.second,
            "seeds": duel.seeds,
            "only_first": duel.only_first,
            "only_second": duel.only_second,
            "p": duel.p,
            "psnr": duel.psnr,
        }
        for duel in found.duels
    )
    return Table(f"{found.task.name}_duels", "Searchers on the same seeds", columns, rows)

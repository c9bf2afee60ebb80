import io
import math

import numpy as np
import pytest
from PIL import Image

from harness.report.tree import Column, Curves, Dendrogram, Matrix, Pairs, Report, Section, Sheet, Table, Text, Tile
from harness.stats import Estimate
from harness.stats.clustering import Merge

GENERATORS = ("deconv", "nearest", "bilinear", "shuffle", "vq", "gan", "diffusion", "flow")


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def estimate(value, n=400):
    half = 1.96 * math.sqrt(max(value * (1 - value), 0.0004) / n)
    return Estimate(value, max(0.0, value - half), min(1.0, value + half), n)


@pytest.fixture(scope="session")
def small_report():
    """One block of each kind, with ties, gaps, a name full of markup and no image that depends on a library."""
    rows = (
        {"rank": 1, "detector": "dif.miniature", "auroc": Estimate(0.9871, 0.981, 0.9923, 400), "bytes": 245_760},
        {"rank": 1, "detector": "a|b_*c*_<i>", "auroc": Estimate(0.95, 0.9, 1.0, 400), "bytes": 12, "seconds": 75.2},
        {"rank": 3, "detector": "nothing", "auroc": Estimate(math.nan, math.nan, math.nan, 0), "seconds": 0.012},
    )
    columns = (
        Column("rank", "rank", "int"),
        Column("detector", "detector"),
        Column("auroc", "AUROC", "estimate", "high"),
        Column("bytes", "size", "bytes", "low"),
        Column("seconds", "time", "seconds"),
    )
    matrix = Matrix(
        "cross",
        "Balanced accuracy",
        ("gan", "vq"),
        ("gan", "vq"),
        ((Estimate(0.99, 0.98, 0.995, 200), Estimate(0.5, 0.45, 0.55, 200)), (None, Estimate(1.0, 0.98, 1.0, 200))),
        frozenset({(0, 0), (1, 1)}),
        "trained on",
        "tested on",
        kind="percent",
    )
    curves = Curves(
        "jpeg",
        "JPEG",
        ("none", "quality=90", "quality=65"),
        {"gan": (Estimate(1, 0.99, 1, 9), Estimate(0.8, 0.7, 0.9, 9), None), "vq": (None, None, None)},
        "AUROC",
        "condition",
    )
    merges = (Merge(("gan",), ("a|b_*c*_<i>",), 0.25), Merge(("vq",), ("gan", "a|b_*c*_<i>"), 0.8125))
    tree = Dendrogram("tree", "Alike", ("vq", "gan", "a|b_*c*_<i>"), merges)
    return Report(
        "small",
        "A report of one block a kind.",
        "INVALID: 3 of 400 images failed",
        ("These are not anybody's figures.",),
        (
            Section("Leaderboard", (Table("leaderboard", "Leaderboard", columns, rows), matrix), "By AUROC."),
            Section("Curves", (curves, tree, Text("First.\n\n# Second, 5 * 3 = $15."))),
            Section(
                "Rest",
                (
                    Sheet("mistakes", "Worst", (Tile(b"\x89PNG", "a.png", "score 0.1"), Tile(b"\x89PNG", "b.png"))),
                    Pairs("environment", (("cpu", "2 cores"), ("path", "a|b")), "Environment"),
                ),
            ),
        ),
    )


@pytest.fixture(scope="session")
def large_report():
    """A report the size of a real one, from synthetic figures."""
    random = np.random.default_rng(7)
    detectors = [f"dif.miniature/{name}" for name in GENERATORS] + ["spec.miniature"]
    skill = np.clip(random.normal(0.68, 0.14, (len(detectors), len(GENERATORS))), 0.36, 0.97)
    skill[range(8), range(8)] = random.uniform(0.985, 1, 8)
    values = tuple(tuple(estimate(float(v)) for v in row) for row in skill)
    columns = (
        Column("rank", "rank", "int"),
        Column("detector", "detector"),
        Column("cross", "cross-generator AUROC", "estimate", "high"),
        Column("accuracy", "cross-generator balanced accuracy", "percent", "high"),
        Column("inside", "in-domain AUROC", "estimate", "high"),
        Column("real", "real acc.", "percent", "high"),
        Column("fake", "fake acc.", "percent", "high"),
        Column("worst", "worst generator"),
        Column("worst_auroc", "its AUROC", "estimate", "high"),
    )
    order = np.argsort(-skill.mean(axis=1))
    rows = [
        {
            "rank": (1, 1, 3, 3, 3, 6, 7, 7, 9)[place],
            "detector": detectors[i],
            "cross": estimate(float(skill[i].mean()), 2800),
            "accuracy": estimate(float(skill[i].mean() - 0.06), 2800),
            "inside": estimate(float(skill[i].max()), 350),
            "real": float(random.uniform(0.8, 0.99)),
            "fake": float(random.uniform(0.3, 0.7)),
            "worst": GENERATORS[int(skill[i].argmin())],
            "worst_auroc": estimate(float(skill[i].min()), 350),
        }
        for place, i in enumerate(order)
    ]
    rows.append({"detector": "baseline: is it a JPEG?", "cross": estimate(0.5, 2800)})
    families = {
        "jpeg": ["none", *(f"jpeg quality={q} subsampling=4:2:0" for q in (95, 85, 75, 65, 50, 30))],
        "blur": ["none", *(f"blur sigma={s}" for s in (0.5, 1, 2, 3))],
        "downsample": ["none", *(f"downsample size={s}" for s in (112, 96, 80, 64))],
        "shift": ["none", *(f"shift pixels={s}" for s in (1, 2, 4, 8))],
    }
    curves = []
    for family, labels in families.items():
        fall = random.uniform(0.02, 0.12, len(detectors))
        shown = detectors[:8] + detectors[8:] if family == "jpeg" else detectors[:5]
        series = {
            name: tuple(
                None if (family == "shift" and i == 2 and k == 3) else estimate(max(0.5, 0.99 - fall[i] * k), 300)
                for k in range(len(labels))
            )
            for i, name in enumerate(shown)
        }
        curves.append(Curves(f"curves_{family}", f"AUROC under {family}", tuple(labels), series, "AUROC", "condition"))
    tiles = tuple(
        Tile(
            png(random.integers(0, 255, (128, 128, 3)).astype(np.uint8) // 3 + np.uint8(20 * i)),
            f"{GENERATORS[i % 8]}/{i:05}.png",
            f"fake called real, {random.uniform(1, 4):.1f} sd",
        )
        for i in range(8)
    )
    everything = tuple(
        {"detector": name, "generator": generator, "reals": 200, "auroc": values[i][j], "threshold": 0.0123}
        for i, name in enumerate(detectors)
        for j, generator in enumerate(GENERATORS)
    )
    audit_rows = tuple(
        {"generator": name, "real": "png 100%", "fake": "jpeg 96%" if name == "gan" else "png 100%", "jpeg": value}
        for name, value in zip(GENERATORS, map(estimate, (0.5, 0.5, 0.5, 0.5, 0.5, 0.98, 0.5, 0.5)), strict=True)
    )
    audit_columns = (
        Column("generator", "generator"),
        Column("real", "reals are"),
        Column("fake", "fakes are"),
        Column("jpeg", "'is it a JPEG?' AUROC", "estimate"),
    )
    every = (
        Column("detector", "detector"),
        Column("generator", "generator"),
        Column("reals", "reals", "int"),
        Column("auroc", "AUROC", "estimate", "high"),
        Column("threshold", "threshold", "float"),
    )
    sheet = Sheet("mistakes", "Clean images farthest on the wrong side of the threshold", tiles)
    matrix = Matrix(
        "auroc",
        "AUROC",
        tuple(detectors),
        GENERATORS,
        (*values[:8], (None, *values[8][1:])),
        frozenset((i, i) for i in range(8)),
        "detector",
        "tested on",
        "in domain: trained on that generator",
    )
    facts = (
        ("python", "3.11.9, numpy 2.4.6, onnxruntime 1.22.0"),
        ("machine", "x86_64, 2 cores, 8 GB"),
        ("suite", "suites/genimage_cross.yaml, sha256 4f9ac0de5b1e"),
    )
    return Report(
        "genimage_cross",
        "Eight fingerprints and one classifier on the eight generators of the miniature corpus.",
        "VALID",
        ("These are the miniature corpus' figures, not GenImage's: 128-pixel crops, eight small generators.",),
        (
            Section(
                "Leaderboard",
                (Table("leaderboard", "Leaderboard", columns, tuple(rows)),),
                "Threshold: calibrated on val. Ranked by mean AUROC over generators a detector was not trained on;"
                " detectors that can't be told apart share a rank. Intervals are 95 %, resampling source images.",
            ),
            Section("Detector × generator", (matrix,), "Outlined cells are in domain."),
            Section("Degradations", tuple(curves), "Bands are 95 % intervals."),
            Section("Confound audit", (Table("audit", "Formats", audit_columns, audit_rows),), "Read from the bytes."),
            Section("Worst mistakes", (sheet,)),
            Section("All figures", (Table("figures", "All figures", every, everything),)),
            Section("Environment", (Pairs("environment", facts),)),
        ),
    )

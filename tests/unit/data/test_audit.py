import math
from collections.abc import Sequence

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from harness.data.audit import BASELINES, Audit, audit
from harness.data.sample import Sample


def samples(
    subset: str,
    count: int,
    label: int,
    format: str = "png",
    quality: int | None = None,
    side: int | Sequence[int] = 128,
    size: int | Sequence[int] = 1000,
    source: str = "",
) -> list[Sample]:
    sides, sizes = np.resize(side, count), np.resize(size, count)
    return [
        Sample(
            path=f"{subset}/{index}",
            sha256="",
            bytes=int(sizes[index]),
            width=int(sides[index]),
            height=128,
            format=format,
            jpeg_quality=quality,
            label=label,
            subset=subset,
            split="test",
            source=source or f"{subset}/{index}",
        )
        for index in range(count)
    ]


def judge(*subsets: list[Sample]) -> Audit:
    named = {items[0].subset: items for items in subsets}
    labels = {name: items[0].label for name, items in named.items()}
    return audit(named, labels, [name for name, label in labels.items() if label], resamples=200)


def figure(found: Audit, name: str, generator: str = "gan") -> float:
    return next(row.auroc.value for row in found.baselines if (row.name, row.generator) == (name, generator))


def test_a_planted_container_is_found() -> None:
    found = judge(samples("nature", 30, 0, "jpeg", 95), samples("gan", 30, 1))
    assert found.findings[0].verdict == "confounded"
    assert found.findings[0].reason == "is it a JPEG? AUROC 1.00: fakes 100% png, reals 100% jpeg"


def test_a_planted_quality_is_found() -> None:
    found = judge(samples("nature", 30, 0, "jpeg", 95), samples("gan", 30, 1, "jpeg", 75))
    assert figure(found, "is it a JPEG?") == 0.5
    assert "fakes 100% jpeg of quality 75, reals 100% jpeg of quality 95" in found.findings[0].reason


def test_a_planted_size_is_found() -> None:
    found = judge(samples("nature", 30, 0, side=[500, 400, 300]), samples("gan", 30, 1, side=512))
    assert "image size AUROC 1.00: fakes 100% 512 x 128, reals 33% 500 x 128" in found.findings[0].reason


def test_a_planted_file_size_is_found() -> None:
    found = judge(samples("nature", 30, 0, size=[90, 110]), samples("gan", 30, 1, size=2500))
    assert found.findings[0].reason == "file size AUROC 1.00: fakes 2.5 kB, reals 0.1 kB"


def test_alike_files_are_clean() -> None:
    sizes = [900, 1000, 1100]
    found = judge(samples("nature", 30, 0, "jpeg", 90, size=sizes), samples("gan", 30, 1, "jpeg", 90, size=sizes))
    assert found.findings[0].verdict == "clean"
    assert {row.auroc.value for row in found.baselines} == {0.5}


def test_fakes_alone_are_untestable() -> None:
    found = judge(samples("gan", 30, 1))
    assert found.findings[0].verdict == "untestable"
    assert math.isnan(found.means()["file size"].value)


def test_own_reals_are_used_and_others_pooled() -> None:
    found = judge(
        samples("nature:gan", 20, 0, "png"),
        samples("nature:vq", 20, 0, "jpeg", 90),
        samples("gan", 20, 1, "png"),
        samples("flow", 20, 1, "png"),
    )
    verdicts = {item.generator: item for item in found.findings}
    assert verdicts["gan"].verdict == "clean"
    assert verdicts["flow"].reason.endswith("fakes 100% png, reals 50% png, 50% jpeg")
    assert figure(found, "is it a JPEG?", "flow") == 0.75


@pytest.mark.parametrize("seed", range(4))
def test_baselines_are_scikit_learns_auroc(seed: int) -> None:
    random = np.random.default_rng(seed)
    real, fake = random.integers(0, 9, 40), random.integers(2, 11, 25)
    found = judge(samples("nature", 40, 0, size=real.tolist()), samples("gan", 25, 1, size=fake.tolist()))
    expected = roc_auc_score(np.repeat([0, 1], [40, 25]), np.concatenate([real, fake]))
    assert figure(found, "file size") == pytest.approx(max(expected, 1 - expected), abs=1e-12)
    assert list(found.means()) == list(BASELINES)


def test_images_of_one_source_are_one_observation() -> None:
    sizes = [10, 20, 30, 40, 50, 60]
    alone = judge(samples("nature", 60, 0, size=sizes), samples("gan", 60, 1, size=[25, 35, 45, 55, 65, 75]))
    tied = judge(
        [item for n in range(6) for item in samples("nature", 10, 0, size=sizes[n], source=f"r{n}")],
        [item for n in range(6) for item in samples("gan", 10, 1, size=sizes[n] + 15, source=f"f{n}")],
    )
    widths = [
        next(row.auroc.high - row.auroc.low for row in found.baselines if row.name == "file size")
        for found in (alone, tied)
    ]
    assert figure(alone, "file size") == figure(tied, "file size")
    assert widths[1] > 1.5 * widths[0]


def test_profiles_state_shares_and_medians() -> None:
    items = samples("nature", 3, 0, "jpeg", 80, side=[100, 100, 200], size=[1, 2, 9]) + samples("nature", 1, 0)
    (profile,) = judge(items).profiles
    assert profile.formats == {"jpeg": 0.75, "png": 0.25}
    assert profile.jpeg_quality == (80, 80, 80)
    assert profile.size == ("100 x 128", 0.5)
    assert (profile.images, profile.bytes) == (4, 5)

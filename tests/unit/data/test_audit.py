import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage
from sklearn.metrics import roc_auc_score

from harness.data import open_dataset
from harness.data.audit import BASELINES, SUSPECT, Audit, audit
from harness.data.sample import Sample
from harness.events import Silent
from harness.spec.suite import DataSpec


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


def test_quartiles_are_of_the_jpegs_alone() -> None:
    items = [item for quality in (60, 70, 80, 90, 100) for item in samples("nature", 1, 0, "jpeg", quality)]
    profiles = judge(items + samples("nature", 9, 0), samples("gan", 4, 1)).profiles
    assert profiles[0].jpeg_quality == (70, 80, 90)
    assert profiles[1].jpeg_quality is None


def test_an_image_is_as_large_as_its_pixels() -> None:
    high = [replace(item, height=512) for item in samples("nature", 30, 0, side=64)]
    assert figure(judge(high, samples("gan", 30, 1, side=256)), "image size") == 0.5


def test_every_baseline_reads_its_own_header_over_pooled_reals() -> None:
    random = np.random.default_rng(1)

    def mixed(subset: str, label: int) -> list[Sample]:
        items = []
        for index in range(25):
            quality = int(random.integers(60, 99)) if random.random() < 0.4 + 0.2 * label else None
            side, size = int(random.integers(50, 60)), int(random.integers(500, 600)) + 20 * label
            (item,) = samples(subset, 1, label, "jpeg" if quality else "png", quality, side, size, f"{subset}{index}")
            items.append(item)
        return items

    reals, fakes = [mixed("nature:a", 0), mixed("nature:b", 0)], mixed("gan", 1)
    found = judge(*reals, fakes)
    items = [*reals[0], *reals[1], *fakes]
    headers = {
        "is it a JPEG?": [item.format == "jpeg" for item in items],
        "file size": [item.bytes for item in items],
        "image size": [item.width * item.height for item in items],
        "JPEG quality": [item.jpeg_quality or 0 for item in items],
    }
    assert set(headers) == set(BASELINES)
    for row in found.baselines:
        expected = roc_auc_score([item.label for item in items], headers[row.name])
        assert row.auroc.value == pytest.approx(max(expected, 1 - expected), abs=1e-12)
        assert row.auroc.low <= row.auroc.value <= row.auroc.high
        assert row.auroc.n == 75


def test_the_share_of_jpegs_stands_by_their_quality() -> None:
    reals = samples("nature", 24, 0, "jpeg", 95) + samples("nature", 1, 0)
    reason = judge(reals, samples("gan", 25, 1, "jpeg", 75)).findings[0].reason
    assert reason == "JPEG quality AUROC 0.96: fakes 100% jpeg of quality 75, reals 96% jpeg of quality 95"


def test_reals_are_described_pooled() -> None:
    found = judge(
        samples("nature:a", 10, 0, side=640),
        samples("nature:b", 30, 0, side=500),
        samples("nature:c", 20, 0, side=640),
        samples("gan", 30, 1, side=128),
    )
    assert found.findings[0].reason == "image size AUROC 1.00: fakes 100% 128 x 128, reals 50% 640 x 128"


def test_a_reason_fits_a_line() -> None:
    half = samples("nature:a", 30, 0, "jpeg", 95, 12_000, 10**8), samples("nature:b", 30, 0, "unknown", side=12_001)
    fakes = samples("gan", 15, 1, "unknown", side=12_345, size=1) + samples("gan", 15, 1, "webp", side=12_345, size=1)
    reason = judge(*half, fakes).findings[0].reason
    assert "\n" not in reason
    assert len(reason) <= 110
    for name, quality in (("jpeg", 100), ("unknown", None)):
        found = judge(samples("nature", 30, 0, "jpeg", 90), samples("gan", 30, 1, name, quality))
        assert len(found.findings[0].reason) <= 110


def test_an_uncertain_baseline_is_no_verdict_and_no_claim_of_chance() -> None:
    found = judge(samples("nature", 8, 0, size=[1, 2, 3, 4]), samples("gan", 8, 1, size=[2, 3, 4, 5]))
    size = next(row.auroc for row in found.baselines if row.name == "file size")
    assert size.low < SUSPECT < size.value
    assert found.findings[0].verdict == "clean"
    assert found.findings[0].reason == "no baseline's interval lies above 0.6"


def test_files_on_disk_give_themselves_away(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for kind, codec in (("real", "jpeg"), ("fake", "png")):
        for generator in ("alike", "apart"):
            folder = tmp_path / "images" / generator / kind
            folder.mkdir(parents=True)
            for index in range(12):
                pixels = PILImage.fromarray(random.integers(0, 256, (16, 16, 3), np.uint8))
                pixels.save(folder / str(index), codec if generator == "apart" else "png")
    spec = DataSpec(layout="real_fake", root="images")
    data = open_dataset("d", spec, tmp_path, tmp_path / "cache", Silent())
    labels = {info.subset: info.label for info in data.subsets()}
    files = {subset: data.samples(subset, "test") for subset in labels}
    found = audit(files, labels, ["alike", "apart"], resamples=200)
    assert [item.verdict for item in found.findings] == ["clean", "confounded"]
    assert found.findings[1].reason == "is it a JPEG? AUROC 1.00: fakes 100% png, reals 100% jpeg"

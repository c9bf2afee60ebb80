"""What the benchmarks measure on: a bank of fingerprints at 256 px, real photographs, and ratios within one run."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage
from pytest_benchmark.fixture import BenchmarkFixture

SIDE = 256
BATCH = 8


@pytest.fixture(scope="session")
def bank_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a bank of nine fingerprints at 256 px, as exported: what the patterns show costs nothing."""
    torch = pytest.importorskip("torch", reason="exporting needs the extra `export`")
    from export.catalog import WEIGHTS
    from export.fingerprints import DifBank, dif_card
    from export.onnx import write_onnx
    from export.residual_filters import load_filter
    from export.triton import write_entry
    from harness.fingerprints.bank import Bank

    folder = tmp_path_factory.mktemp("bank")
    names = tuple(f"pattern{index}" for index in range(9))
    patterns = np.random.default_rng(0).normal(size=(9, 3, SIDE, SIDE)).astype(np.float32)
    centre = np.zeros(9, np.float32)
    bank = Bank(names, patterns, centre, centre + 0.01)
    card = dif_card("dif.bench", bank, summary="", licence="", source="", training={}, claims={})
    module = DifBank(load_filter(str(WEIGHTS / "dncnn_miniature.pt")), bank)
    write_onnx(module, torch.zeros(2, SIDE, SIDE, 3, dtype=torch.uint8), folder / "model.onnx", card)
    write_entry(folder / "repository", folder / "model.onnx", card)
    return folder / "repository"


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64 crops of real photographs, 256 px, PNG and JPEG, in two folders; the labels mean nothing here."""
    from harness.data.miniature.photographs import PHOTOGRAPHS, load

    root = tmp_path_factory.mktemp("photographs")
    large = [pixels for item in PHOTOGRAPHS if min((pixels := load(item)).shape[:2]) >= SIDE]
    random = np.random.default_rng(0)
    for index in range(64):
        pixels = large[index % len(large)]
        top, left = (int(random.integers(length - SIDE + 1)) for length in pixels.shape[:2])
        folder = root / "set" / ("0_real" if index % 2 else "1_fake")
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{index:02}.{'jpg' if index % 4 < 2 else 'png'}"
        PILImage.fromarray(pixels[top : top + SIDE, left : left + SIDE]).save(folder / name)
    return root


@pytest.fixture(autouse=True)
def measured(benchmark: BenchmarkFixture) -> None:
    """Measure beside other workers too, where pytest-benchmark does not: benchmarks run alone all the same."""
    benchmark.disabled = False


@pytest.fixture
def ratio(benchmark: BenchmarkFixture) -> Callable[..., float]:
    """Time two functions by turns and return the median of reference time over candidate time: 1 is as fast."""

    def measure(candidate: Callable[[], object], reference: Callable[[], object], rounds: int = 3) -> float:
        candidate(), reference()
        references: list[float] = []

        def before() -> None:
            started = time.perf_counter()
            reference()
            references.append(time.perf_counter() - started)

        benchmark.pedantic(candidate, setup=before, rounds=rounds)
        found = [known / timed for known, timed in zip(references, benchmark.stats.stats.data, strict=True)]
        benchmark.extra_info["ratio"] = statistics.median(found)
        benchmark.extra_info["ratios"] = found
        return statistics.median(found)

    return measure

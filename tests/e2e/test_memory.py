"""Memory of a whole run over synthetic manifest rows: 25,000 images must not need more than 1,000 do."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

SUITE = """\
name: rows
data: {{d: {{layout: manifest, root: {root}}}}}
models: [{{name: scripted.hash, endpoint: '{endpoint}', options: {{batch: 64}}}}]
resamples: 100
tasks: [{{kind: detection, name: rows, data: d}}]
report: {{mistakes: 0}}
"""

PEAK = """\
import resource, sys
from harness.cli import main
try:
    main()
finally:
    print("PEAK", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


def rows(folder: Path, count: int) -> Path:
    """Write a manifest of ``count`` files that are links to a few small images."""
    random = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    for index in range(10):
        PILImage.fromarray(random.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / f"{index}.png")
    with (folder / "rows.csv").open("w") as table:
        table.write("path,label,subset,split\n")
        for index in range(count):
            os.link(folder / f"{index % 10}.png", folder / "images" / f"{index:06}.png")
            label, subset = ((0, "nature"), (1, "made"))[index % 2]
            table.write(f"images/{index:06}.png,{label},{subset},test\n")
    return folder / "rows.csv"


def peak(folder: Path, count: int) -> int:
    """Return the peak resident memory of a run over so many rows, in KiB."""
    script = json.dumps({"card": {"name": "scripted.hash", "score": "statistic"}, "rule": "hash"})
    suite = folder / "rows.yaml"
    suite.write_text(SUITE.format(root=rows(folder, count), endpoint=f"scripted:{script}"), encoding="utf-8")
    command = [sys.executable, "-c", PEAK, "run", str(suite), "--out", str(folder / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stderr.rsplit("PEAK", 1)[1])


@pytest.mark.slow
def test_memory_is_flat_in_the_number_of_rows(tmp_path: Path) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("peak memory is read the Linux way")
    few = peak(tmp_path / "few", 1_000)
    many = peak(tmp_path / "many", 12_000)
    assert many / few <= 1.2

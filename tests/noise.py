"""Images of noise in the layout `real_fake`, for tests in which it does not matter what an image shows."""

from pathlib import Path

import numpy as np
from PIL import Image as PILImage


def write_noise(root: Path, each: int, side: int = 128, sets: int = 1) -> Path:
    """Write so many square PNGs of either class into every set below a folder, and return it; the same each time."""
    random = np.random.default_rng(0)
    for number in range(sets):
        for kind in ("0_real", "1_fake"):
            folder = root / ("set" if sets == 1 else f"set{number}") / kind
            folder.mkdir(parents=True)
            for place in range(each):
                pixels = random.integers(0, 256, (side, side, 3), np.uint8)
                PILImage.fromarray(pixels).save(folder / f"{place}.png")
    return root

"""Where two images differ: `difference(a, b)` and the parts that it is made of."""

from harness.difference.method import Difference, Method, difference, find, parse_method
from harness.difference.metrics import dice, jaccard, mae, mse, psnr, ssim
from harness.difference.planes import as_planes
from harness.difference.regions import Region

__all__ = [
    "Difference",
    "Method",
    "Region",
    "as_planes",
    "dice",
    "difference",
    "find",
    "jaccard",
    "mae",
    "mse",
    "parse_method",
    "psnr",
    "ssim",
]

"""What difference maps need torch for: metrics' gradients, LPIPS, MS-SSIM and Grad-CAM; writes nothing."""

from export.differences.cam import TorchCam
from export.differences.gradients import METRICS, gradient_map, measure
from export.differences.perceptual import lpips_map

__all__ = ["METRICS", "TorchCam", "gradient_map", "lpips_map", "measure"]

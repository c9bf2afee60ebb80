"""Every method of attribution, by name: what it is asked about, its network and its recipe, one line each."""

from __future__ import annotations

from collections.abc import Mapping

from export.attributors.attributor import Attributor, Recipe
from export.attributors.mean_residual import FILTER, mean_residual
from export.attributors.networks import map_network, picture_network, pixel_network, vector_network
from export.detectors.architecture import Scale
from harness.images.preprocess import Preprocess

MAPS: Mapping[Scale, Recipe] = {
    "full": Recipe(epochs=100, lr=1e-3),
    "miniature": Recipe(epochs=8, batch=32, lr=3e-3, patience=4),
}
PICTURES: Mapping[Scale, Recipe] = {
    "full": Recipe(epochs=100, lr=1e-3, crop=224),
    "miniature": Recipe(epochs=6, batch=32, lr=3e-3, patience=4, crop=64),
}
VECTORS: Mapping[Scale, Recipe] = {
    "full": Recipe(epochs=200, batch=256, patience=20),
    "miniature": Recipe(epochs=60, patience=15),
}
AVERAGED: Mapping[Scale, Recipe] = {"full": Recipe(epochs=0), "miniature": Recipe(epochs=0)}

IMAGES: Mapping[Scale, Preprocess] = {"full": Preprocess(resize=256, crop=256), "miniature": Preprocess(crop=128)}
SHOWN: Mapping[Scale, Preprocess] = {"full": Preprocess(resize=256, crop=224), "miniature": Preprocess(crop=128)}
"""Of images, and of those that embedders are shown."""


def _both(represent: str) -> Mapping[Scale, str]:
    return {"full": represent, "miniature": represent}


def _embedded(full: str, miniature: str) -> Mapping[Scale, str]:
    names: Mapping[Scale, str] = {"full": full, "miniature": miniature}
    return {scale: f"artifact space=embedding embedder=embedder.{name}" for scale, name in names.items()}


SUPERVISED, SELF_SUPERVISED = _embedded("resnet50", "mini_sl"), _embedded("barlow_twins", "mini_ssl")

MANIFPT = "Song, Khayatkhoei and AbdAlmageed, ManiFPT, CVPR 2024"
MCCLOSKEY, NATARAJ = "McCloskey and Albright, arXiv 1812.08247, 2018", "Nataraj et al., Electronic Imaging 2019"
DURALL, DZANIC = "Durall, Keuper and Keuper, CVPR 2020", "Dzanic, Shah and Witherden, NeurIPS 2020"
WANG, MARRA = (
    "Wang et al., CNN-generated Images, CVPR 2020",
    "Marra et al., Do GANs Leave Artificial Fingerprints?, 2019",
)

# fmt: off
ATTRIBUTORS: Mapping[str, Attributor] = {item.name: item for item in (
    Attributor("manifpt_rgb", "Artifacts in pixels", MANIFPT,
               picture_network, _both("artifact space=rgb"), IMAGES, PICTURES),
    Attributor("manifpt_frequency", "Artifacts in log magnitudes of the Fourier transform", MANIFPT,
               map_network, _both("artifact space=frequency"), IMAGES, MAPS),
    Attributor("manifpt_sl", "Artifacts in a supervised embedding", MANIFPT,
               vector_network, SUPERVISED, SHOWN, VECTORS),
    Attributor("manifpt_ssl", "Artifacts in a self-supervised embedding", MANIFPT,
               vector_network, SELF_SUPERVISED, SHOWN, VECTORS),
    Attributor("mccloskey18", "Colour histograms", MCCLOSKEY,
               vector_network, _both("colour_histogram"), IMAGES, VECTORS),
    Attributor("durall20", "1-D spectra", DURALL, vector_network, _both("spectrum_1d"), IMAGES, VECTORS),
    Attributor("dzanic20", "The decay of spectra", DZANIC, vector_network, _both("spectrum_decay"), IMAGES, VECTORS),
    Attributor("nataraj19", "Co-occurrence matrices", NATARAJ, map_network, _both("cooccurrence"), IMAGES, MAPS),
    Attributor("wang20", "A plain CNN on pixels", WANG, pixel_network, _both(""), IMAGES, PICTURES),
    Attributor("marra19", "Mean residuals", MARRA, mean_residual, _both(""), IMAGES, AVERAGED, "statistic", FILTER),
)}
# fmt: on
"""By the first part of their models' names."""

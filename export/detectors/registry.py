"""Every architecture of a detector, by name."""

from __future__ import annotations

from collections.abc import Mapping

from export.detectors.architecture import Architecture
from export.detectors.cnnspot import CNNSPOT
from export.detectors.deit_s import DEIT_S
from export.detectors.f3net import F3NET
from export.detectors.gramnet import GRAMNET
from export.detectors.npr import NPR
from export.detectors.resnet50 import RESNET50
from export.detectors.spec import SPEC
from export.detectors.swin_t import SWIN_T

ARCHITECTURES: Mapping[str, Architecture] = {
    item.name: item for item in (RESNET50, DEIT_S, SWIN_T, CNNSPOT, SPEC, F3NET, GRAMNET, NPR)
}
"""By the first part of their models' names."""

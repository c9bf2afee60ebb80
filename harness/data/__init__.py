"""Where images come from: layouts, manifests, the confound audit, the miniature corpus."""

from harness.data.opening import open_dataset
from harness.data.sample import FAKE, NATURE, REAL, Dataset, Sample, SubsetInfo, reals_for

__all__ = ["FAKE", "NATURE", "REAL", "Dataset", "Sample", "SubsetInfo", "open_dataset", "reals_for"]

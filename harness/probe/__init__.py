"""Learns an endpoint that nobody described: what it takes, what its scores are, how it behaves. Judges no quality."""

from harness.probe.learned import Confidence, Learned
from harness.probe.probing import Asked, Probed, probe

__all__ = ["Asked", "Confidence", "Learned", "Probed", "probe"]

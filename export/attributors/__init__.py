"""Attributors: models that name an image's source, and how each of them is exported."""

from export.attributors.attributor import Attributor, Network, Recipe
from export.attributors.registry import ATTRIBUTORS

__all__ = ["ATTRIBUTORS", "Attributor", "Network", "Recipe"]

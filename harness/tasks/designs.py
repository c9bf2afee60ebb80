"""How sources lie to each other in an attributor's answers, and whether they cluster by how they were designed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import pdist, squareform

from harness.attributors import Designs
from harness.stats import holm
from harness.stats.clustering import Clustering, average_linkage
from harness.stats.partitions import Association, association, cut
from harness.tasks.answers import Floats
from harness.tasks.told import Told

FEWEST = 3
"""Sources from which on there is something to cluster."""


@dataclass(frozen=True)
class Choice:
    """A design choice held against the clusters of the generators that have made it.

    Attributes:
        name: of the choice (``up``).
        values: how many there are; the hierarchy is cut into as many clusters.
        generators: how many have one.
        found: normalised mutual information of clusters and values, against permuted values.
        p: of that, Holm-adjusted over the choices of one method.
    """

    name: str
    values: int
    generators: int
    found: Association
    p: float


@dataclass(frozen=True)
class Grouping:
    """The sources by one method's answers.

    Attributes:
        method: which.
        tree: average linkage of all known sources.
        choices: held against the clusters of the generators alone.
    """

    method: str
    tree: Clustering
    choices: tuple[Choice, ...]


def group(method: str, tested: Sequence[Told], designs: Designs, seed: int) -> Grouping | None:
    """Cluster the sources that a method knows; None of fewer than three.

    The distance of two sources is Euclidean between the means of their images' centred logits. One training's distances
    are divided by their mean before they are averaged over the trainings, for each has a scale of its own.

    Args:
        method: its name.
        tested: what each training said.
        designs: design choices by generator.
        seed: of the permutations.
    """
    here = set.intersection(*({str(name) for name in told.truth[told.known]} for told in tested))
    names = [name for name in tested[0].knows if name in here]
    if len(names) < FEWEST:
        return None
    far = np.mean([_distances(told, names) for told in tested], axis=0)
    found = []
    for choice in dict.fromkeys(key for choices in designs.values() for key in choices):
        made = {name: designs[name][choice] for name in names if choice in designs.get(name, {})}
        values = len(set(made.values()))
        if len(made) >= FEWEST and values > 1:
            places = [names.index(name) for name in made]
            clusters = cut(average_linkage(list(made), far[np.ix_(places, places)]), values)
            member = {name: place for place, cluster in enumerate(clusters) for name in cluster}
            labels = list(made.values())
            found.append((choice, values, len(made), association([member[name] for name in made], labels, seed=seed)))
    adjusted = holm([item.p for *_, item in found])
    choices = tuple(Choice(*item, p) for item, p in zip(found, adjusted, strict=True))
    return Grouping(method, average_linkage(names, far), choices)


def _distances(told: Told, names: Sequence[str]) -> Floats:
    between = pdist(np.stack([told.centred[told.truth == name].mean(axis=0) for name in names]))
    mean = between.mean()
    return np.asarray(squareform(between / mean if mean > 0 else between))

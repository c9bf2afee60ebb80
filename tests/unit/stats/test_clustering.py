import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from harness.stats.clustering import Merge, average_linkage


def symmetric(seed: int, n: int) -> np.ndarray:
    return squareform(np.random.default_rng(seed).uniform(0, 1, n * (n - 1) // 2))


def test_by_hand() -> None:
    distances = np.array([[0, 4, 1, 5], [4, 0, 6, 2], [1, 6, 0, 7], [5, 2, 7, 0]]) / 10
    found = average_linkage("abcd", distances)
    sides = [({*merge.left}, {*merge.right}) for merge in found.merges]
    assert [set().union(*pair) for pair in sides] == [{"a", "c"}, {"b", "d"}, {"a", "b", "c", "d"}]
    assert [merge.distance for merge in found.merges] == pytest.approx([0.1, 0.2, (4 + 5 + 6 + 7) / 40])
    upper = distances[np.triu_indices(4, 1)]
    joined = [0.55, 0.1, 0.55, 0.55, 0.2, 0.55]
    assert found.cophenetic == pytest.approx(np.corrcoef(upper, joined)[0, 1])


@given(st.integers(0, 1000), st.integers(3, 9))
def test_is_scipys(seed: int, n: int) -> None:
    distances = symmetric(seed, n)
    found = average_linkage([str(i) for i in range(n)], distances)
    tree = hierarchy.linkage(squareform(distances), "average", optimal_ordering=True)
    assert found.order == tuple(map(str, hierarchy.leaves_list(tree)))
    assert [merge.distance for merge in found.merges] == tree[:, 2].tolist()
    assert found.cophenetic == pytest.approx(hierarchy.cophenet(tree, squareform(distances))[0])


@given(st.integers(0, 1000), st.integers(2, 9))
def test_every_merge_is_a_mean_distance_of_two_groups_that_stand_together(seed: int, n: int) -> None:
    distances = symmetric(seed, n)
    found = average_linkage([str(i) for i in range(n)], distances)
    assert len(found.merges) == n - 1
    text = " ".join(found.order) + " "
    for merge in found.merges:
        left, right = ([int(name) for name in side] for side in (merge.left, merge.right))
        assert merge.distance == pytest.approx(distances[np.ix_(left, right)].mean())
        assert " ".join(merge.left + merge.right) + " " in text
    assert found.merges[-1].left + found.merges[-1].right == found.order


def test_two_things_have_no_correlation() -> None:
    found = average_linkage("ab", np.array([[0, 0.5], [0.5, 0]]))
    assert {*found.merges} <= {Merge(("a",), ("b",), 0.5), Merge(("b",), ("a",), 0.5)}
    assert math.isnan(found.cophenetic)


def test_distances_all_alike_have_no_correlation() -> None:
    assert math.isnan(average_linkage("abcd", 0.3 * (1 - np.eye(4))).cophenetic)


@pytest.mark.parametrize("wrong", [[[0, 1], [2, 0]], [[1, 1], [1, 0]], [[0, np.nan], [np.nan, 0]]])
def test_what_is_no_distance_is_refused(wrong: list[list[float]]) -> None:
    with pytest.raises(ValueError):
        average_linkage("ab", np.array(wrong, float))

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform
from sklearn.metrics import normalized_mutual_info_score

from harness.stats.clustering import average_linkage
from harness.stats.partitions import association, cut

LABELS = st.lists(st.sampled_from("abcd"), min_size=2, max_size=12)


@given(LABELS, st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_nmi_is_scikit_learns(labels, seed):
    groups = np.random.default_rng(seed).integers(0, 3, len(labels)).tolist()
    found = association(groups, labels, permutations=5)
    assert found.nmi == pytest.approx(normalized_mutual_info_score(labels, groups), abs=1e-9)


def test_chance_and_p_are_those_of_all_permutations():
    groups, labels = [0, 0, 1, 1, 2], ["a", "a", "b", "b", "b"]
    every = [normalized_mutual_info_score(list(order), groups) for order in permutations(labels)]
    found = association(groups, labels, permutations=20_000)
    assert found.chance == pytest.approx(np.mean(every), abs=0.01)
    assert found.p == pytest.approx(np.mean(np.array(every) >= found.nmi - 1e-9), abs=0.015)


def test_p_values_are_uniform_where_labels_are_random():
    random = np.random.default_rng(5)
    groups = [0] * 6 + [1] * 6
    found = [association(groups, random.permutation([0, 1] * 6).tolist(), 199, seed).p for seed in range(200)]
    assert np.mean(np.array(found) <= 0.05) <= 0.09


@given(LABELS, st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_names_of_groups_and_the_order_of_things_do_not_matter(labels, random):
    groups = [ord(label) % 3 for label in labels]
    order = random.sample(range(len(labels)), len(labels))
    found = association(groups, labels, 20).nmi
    assert association([f"g{groups[i]}" for i in order], [labels[i] for i in order], 20).nmi == pytest.approx(found)


@given(st.integers(0, 99), st.integers(2, 10), st.data())
@settings(max_examples=40, deadline=None)
def test_a_cut_is_scipys(seed, n, data):
    between = np.random.default_rng(seed).uniform(0.1, 1, n * (n - 1) // 2)
    groups = data.draw(st.integers(1, n))
    names = [f"s{i}" for i in range(n)]
    found = cut(average_linkage(names, squareform(between)), groups)
    member = {name: place for place, group in enumerate(found) for name in group}
    wanted = hierarchy.fcluster(hierarchy.linkage(between, "average"), groups, "maxclust")
    assert len(found) == groups
    assert normalized_mutual_info_score(wanted, [member[name] for name in names]) == pytest.approx(1)


@pytest.mark.parametrize("groups", [0, 4])
def test_a_cut_that_can_not_be_is_refused(groups):
    tree = average_linkage(["a", "b", "c"], squareform([1.0, 2.0, 3.0]))
    with pytest.raises(ValueError, match=r"groups: expected 1\.\.3"):
        cut(tree, groups)


def test_one_label_a_group_each_is_refused():
    with pytest.raises(ValueError, match="one of each a thing"):
        association([1], [1, 2])

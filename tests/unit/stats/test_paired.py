import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import stats

shares = st.floats(1e-6, 1, allow_nan=False)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_mcnemar_is_the_binomial_sum(pairs):
    a, b = np.array(pairs).T
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    n, k = only_a + only_b, min(only_a, only_b)
    expected = min(1.0, 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2**n) if n else 1.0
    assert stats.mcnemar(a, b) == pytest.approx(expected)


def test_mcnemar_knows_a_difference():
    a = np.ones(1000, bool)
    b = a.copy()
    b[:20] = False
    assert stats.mcnemar(a, b) == pytest.approx(2 / 2**20)


def test_mcnemar_needs_the_same_images():
    with pytest.raises(ValueError, match="same images"):
        stats.mcnemar([True], [True, False])


@given(st.lists(shares, min_size=1, max_size=6))
def test_holm_is_the_closed_bonferroni_test(pvalues):
    indices = range(len(pvalues))
    families = [f for size in range(1, len(pvalues) + 1) for f in itertools.combinations(indices, size)]
    expected = [
        max(min(1.0, len(family) * min(pvalues[j] for j in family)) for family in families if i in family)
        for i in indices
    ]
    assert stats.holm(pvalues) == pytest.approx(expected)


def test_holm_of_nothing_is_nothing():
    assert stats.holm([]) == []


def pairwise(m, different):
    p = np.ones((m, m))
    for i, j in different:
        p[i, j] = p[j, i] = 1e-6
    return p


class TestRanks:
    def test_a_tie_is_shown_as_a_tie(self):
        assert stats.ranks_with_ties([0.9, 0.89, 0.7], pairwise(3, [(0, 2), (1, 2)])) == [1, 1, 3]

    def test_ranks_keep_the_order_given(self):
        assert stats.ranks_with_ties([0.7, 0.9, 0.89], pairwise(3, [(1, 0), (2, 0)])) == [3, 1, 1]

    def test_a_chain_of_small_steps_breaks_at_its_leader(self):
        different = [(0, 2), (0, 3), (1, 3)]
        assert stats.ranks_with_ties([0.9, 0.88, 0.86, 0.84], pairwise(4, different)) == [1, 1, 3, 3]

    def test_all_different(self):
        different = list(itertools.combinations(range(4), 2))
        assert stats.ranks_with_ties([1, 2, 3, 4], pairwise(4, different)) == [4, 3, 2, 1]

    def test_equal_scores_tie_whatever_the_test_says(self):
        assert stats.ranks_with_ties([0.5, 0.5], pairwise(2, [(0, 1)])) == [1, 1]

    def test_one_and_none(self):
        assert stats.ranks_with_ties([0.5], [[1.0]]) == [1]
        assert stats.ranks_with_ties([], np.ones((0, 0))) == []

    def test_many_comparisons_cost_significance(self):
        alone, crowded = np.full((2, 2), 0.03), np.full((4, 4), 0.03)
        assert stats.ranks_with_ties([0.9, 0.8], alone) == [1, 2]
        assert stats.ranks_with_ties([0.9, 0.8, 0.7, 0.6], crowded) == [1, 1, 1, 1]

    @given(st.lists(shares, min_size=1, max_size=7), st.randoms(use_true_random=False))
    def test_rank_is_at_most_the_place_and_falls_with_the_score(self, scores, random):
        m = len(scores)
        p = np.ones((m, m))
        for i, j in itertools.combinations(range(m), 2):
            p[i, j] = p[j, i] = random.choice([1e-9, 0.04, 0.5])
        ranks = stats.ranks_with_ties(scores, p)
        assert min(ranks) == 1
        for i, rank in enumerate(ranks):
            assert rank <= 1 + sum(s > scores[i] for s in scores) + scores.count(scores[i]) - 1
            assert all(ranks[j] <= rank for j in range(m) if scores[j] > scores[i])

    def test_a_model_without_a_figure_is_refused(self):
        with pytest.raises(ValueError, match="without a figure"):
            stats.ranks_with_ties([0.9, math.nan], np.ones((2, 2)))

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.tasks.correlation import correlate, correlations, distances, similarities
from tests.unit.detections import IMAGES, Made, crossed, detection

TWO_KINDS = {
    "a": {"a": 1.0, "b": 0.9, "c": 0.5, "d": 0.4},
    "b": {"a": 0.8, "b": 1.0, "c": 0.6, "d": 0.5},
    "c": {"a": 0.5, "b": 0.6, "c": 0.9, "d": 0.7},
    "d": {"a": 0.3, "b": 0.5, "c": 0.8, "d": 1.0},
}


def matrix(found: object) -> np.ndarray:
    return np.array([[cell.value for cell in row] for row in found])  # type: ignore[attr-defined]


def auroc(seed: int, n: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 1, (n, n))


class TestFormulas:
    def test_by_hand(self) -> None:
        table = np.array([[1.0, 0.9, 0.3], [0.7, 1.0, 0.5], [0.5, 0.9, 0.8]])
        similarity = similarities(table)
        assert similarity[0, 1] == pytest.approx(0.8)
        assert similarity.diagonal().tolist() == [1.0, 1.0, 0.8]
        expected = [[0, 0.4, 1], [0.4, 0, 0.6], [1, 0.6, 0]]
        assert distances(similarity) == pytest.approx(np.array(expected))

    @given(st.integers(0, 1000), st.integers(2, 8))
    def test_distances_are_distances(self, seed: int, n: int) -> None:
        far = distances(similarities(auroc(seed, n)))
        assert (far == far.T).all()
        assert (far.diagonal() == 0).all()
        assert ((far >= 0) & (far <= 1)).all()

    @given(st.integers(0, 1000), st.integers(2, 8))
    def test_correlations_are_numpys(self, seed: int, n: int) -> None:
        table = auroc(seed, n)
        assert correlations(table) == pytest.approx(np.corrcoef(table, rowvar=False))
        assert correlations(np.stack([table, table]))[1] == pytest.approx(np.corrcoef(table, rowvar=False))

    def test_a_constant_column_correlates_with_none(self) -> None:
        found = correlations(np.array([[0.1, 0.5], [0.1, 0.6], [0.1, 0.9]]))
        assert np.isnan(found[0]).all()
        assert np.isnan(found[:, 0]).all()
        assert found[1, 1] == pytest.approx(1)


class TestCorrelate:
    def test_two_kinds_of_generators_part_last(self) -> None:
        found = correlate(detection(crossed("x", TWO_KINDS)))
        assert found is not None
        last = found.clustering.merges[-1]
        assert {frozenset(last.left), frozenset(last.right)} == {frozenset("ab"), frozenset("cd")}
        assert last.distance == pytest.approx(np.mean([1, 1, 0.8, 1]))
        assert found.detectors == 4

    def test_matrices_stand_in_the_order_of_the_tree(self) -> None:
        found = correlate(detection(crossed("x", TWO_KINDS)))
        assert found is not None
        order = found.clustering.order
        table = np.array([[TWO_KINDS[a][b] for b in order] for a in order])
        assert matrix(found.similarity) == pytest.approx((table + table.T) / 2)
        assert matrix(found.correlation) == pytest.approx(np.corrcoef(table, rowvar=False))

    def test_intervals_hold_their_figure_and_count_each_image_once(self) -> None:
        found = correlate(detection(crossed("x", TWO_KINDS)))
        assert found is not None
        for i, row in enumerate(found.similarity):
            for j, cell in enumerate(row):
                assert cell is not None
                assert cell.low < cell.value < cell.high
                assert cell.n == (IMAGES if i == j else 2 * IMAGES)

    def test_architectures_are_averaged(self) -> None:
        other = {name: dict.fromkeys(TWO_KINDS, 0.5) for name in TWO_KINDS}
        one, both = (
            correlate(detection(made))
            for made in (crossed("x", TWO_KINDS), [*crossed("x", TWO_KINDS), *crossed("y", other)])
        )
        assert one is not None
        assert both is not None
        assert both.detectors == 8
        place = [both.clustering.order.index(name) for name in one.clustering.order]
        assert matrix(both.similarity)[np.ix_(place, place)] == pytest.approx((matrix(one.similarity) + 0.5) / 2)

    def test_lone_detectors_and_those_of_several_generators_do_not_count(self) -> None:
        row = dict.fromkeys(TWO_KINDS, 1.0)
        more = [Made("y.a", ("a",), row), Made("x.all", ("a", "b"), row)]
        plain, mixed = (correlate(detection([*crossed("x", TWO_KINDS), *others])) for others in ([], more))
        assert plain == mixed

    @pytest.mark.parametrize("names", ["", "a", "ab"])
    def test_too_few_generators_have_none(self, names: str) -> None:
        table = {name: {tested: TWO_KINDS[name][tested] for tested in "abcd"} for name in names}
        assert correlate(detection(crossed("x", table))) is None

    def test_a_cell_without_figure_has_none(self) -> None:
        table = {name: dict(row) for name, row in TWO_KINDS.items()}
        table["a"]["b"] = float("nan")
        assert correlate(detection(crossed("x", table))) is None

    def test_generators_no_detector_was_trained_on_are_left_out(self) -> None:
        table = {name: {**row, "e": 0.7} for name, row in TWO_KINDS.items()}
        found = correlate(detection(crossed("x", table)))
        assert found is not None
        assert sorted(found.clustering.order) == list("abcd")

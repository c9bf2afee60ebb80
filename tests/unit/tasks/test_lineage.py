import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.card import Card, Head
from harness.errors import SuiteError
from harness.fingerprints.bank import Bank
from harness.lineage import check_lineage
from harness.spec.tasks import DetectionTask
from harness.tasks import lineage
from harness.tasks.lineage import ahead, compare_directly, likeness, parent_test, trace
from tests.unit.detections import IMAGES, Made, crossed, detection

BASES = ("a", "b", "c", "d")
PARENTS = {"a1": "a", "a2": "a", "b1": "b"}


def table(own: float, names: tuple[str, ...] = (*BASES, *PARENTS)) -> dict[str, dict[str, float]]:
    """Return cross AUROCs: 1 in domain, ``own`` between kin, else 0.5 to 0.6 by place."""
    kin = {name: PARENTS.get(name, name) for name in names}
    return {
        row: {
            column: 1.0 if row == column else own if kin[row] == kin[column] else 0.5 + 0.02 * min(i, j)
            for j, column in enumerate(names)
        }
        for i, row in enumerate(names)
    }


def similarity(seed: int, children: int, bases: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 1, (children, bases))


class TestParentTest:
    def test_by_hand(self) -> None:
        """Two children of one parent, four bases: only the true name gives as much, so p = 1 / 4."""
        near = np.array([[0.9, 0.5, 0.6, 0.4], [0.8, 0.7, 0.3, 0.5]])
        statistic, p, count = parent_test(near, [0, 0])
        assert statistic == pytest.approx(((0.9 - 0.5) + (0.8 - 0.5)) / 2)
        assert (p, count) == (1 / 4, 4)

    def test_two_parents_of_eight_have_56_names(self) -> None:
        near = np.full((4, 8), 0.5)
        near[[0, 1], 3] = near[[2, 3], 6] = 0.9
        statistic, p, count = parent_test(near, [3, 3, 6, 6])
        assert (statistic, p, count) == (pytest.approx(0.4), 1 / 56, 56)

    def test_a_worse_parent_has_a_p_of_one(self) -> None:
        near = np.array([[0.1, 0.5, 0.6], [0.9, 0.1, 0.9]])
        assert parent_test(near, [0, 1])[1] == 1.0

    def test_the_place_of_the_true_names_is_its_p(self) -> None:
        near = np.array([[0.9, 0.8, 0.7, 0.6, 0.5]])
        assert [parent_test(near, [parent])[1] for parent in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])

    def test_equal_similarities_tell_nothing(self) -> None:
        assert parent_test(np.full((3, 5), 0.7), [0, 1, 1])[1] == 1.0

    @given(st.integers(0, 1000), st.integers(1, 4), st.integers(2, 5), st.data())
    def test_names_and_a_common_part_do_not_matter(
        self, seed: int, children: int, bases: int, data: st.DataObject
    ) -> None:
        near = similarity(seed, children, bases)
        parent = data.draw(st.lists(st.integers(0, bases - 1), min_size=children, max_size=children))
        order = data.draw(st.permutations(range(bases)))
        statistic, p, count = parent_test(near, parent)
        again = parent_test(near[:, order] + 0.25, [order.index(own) for own in parent])
        assert again == (pytest.approx(statistic), pytest.approx(p), count)
        assert count == math.perm(bases, len(set(parent)))
        assert p * count == pytest.approx(round(p * count))
        assert p >= 1 / count

    def test_p_is_uniform_where_names_mean_nothing(self) -> None:
        found = np.array([parent_test(similarity(seed, 4, 6), [0, 0, 1, 1])[1] for seed in range(400)])
        assert abs((found <= 0.2).mean() - 0.2) < 4 * math.sqrt(0.16 / 400)

    def test_drawn_names_come_near_to_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        near = similarity(1, 4, 8)
        _, exact, _ = parent_test(near, [0, 1, 2, 3])
        monkeypatch.setattr(lineage, "MOST_EXACT", 1000)
        _, drawn, count = parent_test(near, [0, 1, 2, 3], seed=1)
        assert count == 1000
        assert drawn == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 1000) + 1e-3)
        assert parent_test(near, [0, 1, 2, 3], seed=1)[1] == drawn


def test_a_missing_direction_leaves_the_other() -> None:
    auroc = np.array([[1.0, 0.8, 0.7], [0.6, 1.0, 0.9], [np.nan, np.nan, np.nan]])
    found = likeness(auroc)
    assert found[0, 1] == found[1, 0] == pytest.approx(0.7)
    assert (found[2, 0], found[1, 2]) == (0.7, 0.9)
    assert np.isnan(found[2, 2])


def test_ahead_is_over_the_mean_of_the_others() -> None:
    assert ahead(np.array([0.9, 0.5, 0.1])) == pytest.approx([0.6, 0.0, -0.6])


class TestTrace:
    def test_children_are_nearest_to_their_parents(self) -> None:
        (found,) = trace(detection(crossed("x", table(0.9))), PARENTS, 0)
        assert [child.rank for child in found.children] == [1, 1, 1]
        assert found.bases == tuple(name for name in found.rows if name in BASES)
        assert (found.p, found.relabellings) == (1 / 12, 12)
        first = found.children[0]
        assert first.ranking[0][0] == "a"
        assert first.ranking[0][1].value == pytest.approx(0.9)
        assert first.ahead.value == pytest.approx(0.9 - np.mean([figure.value for _, figure in first.ranking[1:]]))
        assert found.ahead is not None
        assert found.ahead.value == pytest.approx(np.mean([child.ahead.value for child in found.children]))
        assert found.ahead.n == 7 * IMAGES
        assert first.ranking[0][1].n == 2 * IMAGES

    def test_kin_stand_together_in_the_tree(self) -> None:
        (found,) = trace(detection(crossed("x", table(0.9))), PARENTS, 0)
        assert found.clustering is not None
        assert found.rows == found.columns == found.clustering.order
        places = sorted(found.rows.index(name) for name in ("a", "a1", "a2"))
        assert places == list(range(places[0], places[0] + 3))

    def test_children_without_fingerprints_are_held_one_way(self) -> None:
        full = table(0.9)
        full["a"]["a1"] = 0.8
        (found,) = trace(detection(crossed("x", {name: full[name] for name in BASES})), PARENTS, 0)
        assert sorted(found.rows) == list(BASES)
        assert sorted(found.columns) == sorted([*BASES, *PARENTS])
        assert found.children[0].ranking[0] == ("a", found.matrix[found.rows.index("a")][found.columns.index("a1")])
        assert found.children[0].ranking[0][1].value == pytest.approx(0.8)
        assert found.p == 1 / 12

    def test_without_known_children_there_is_a_matrix_and_a_tree(self) -> None:
        (found,) = trace(detection(crossed("x", table(0.9))), {}, 0)
        assert not found.children
        assert math.isnan(found.p)
        assert found.clustering is not None

    def test_each_architecture_and_each_bank_has_its_own(self) -> None:
        bank = [Made("y.bank", (name,), row, head=name) for name, row in table(0.5).items()]
        first, second = trace(detection([*crossed("x", table(0.9)), *bank]), PARENTS, 0)
        assert (first.name, first.model) == ("x", None)
        assert (second.name, second.model) == ("y", "y.bank")
        assert first.p < second.p

    def test_lone_detectors_have_none(self) -> None:
        assert trace(detection(crossed("x", {"a": table(0.9)["a"]})), {}, 0) == ()


class TestCheck:
    CARD = Card(name="dif.x", heads=tuple(Head(name=name, trained_on=(name,)) for name in ("a", "b", "c1")))

    @pytest.mark.parametrize(
        ("parents", "heads", "complaint"),
        [
            ({"c2": "a"}, ("a", "b"), "expected tested subsets, got 'c2'"),
            ({"c1": "e"}, ("a", "b"), "expected tested subsets, got 'e'"),
            ({"c1": "d"}, ("a", "b"), "expected a detector of d, got detectors of a, b"),
            ({"c1": "a"}, ("a",), "expected detectors of two bases or more, got a"),
        ],
    )
    def test_what_cant_be_tested_is_refused(
        self, parents: dict[str, str], heads: tuple[str, ...], complaint: str
    ) -> None:
        task = DetectionTask(data="d", lineage=parents)
        card = Card(name="dif.x", heads=tuple(Head(name=name, trained_on=(name,)) for name in heads))
        with pytest.raises(SuiteError, match=complaint):
            check_lineage(task, ["a", "b", "c1", "d"], {"dif.x": card})

    @pytest.mark.parametrize("parents", [None, {}, {"c1": "a"}])
    def test_what_can_is_not(self, parents: dict[str, str] | None) -> None:
        check_lineage(DetectionTask(data="d", lineage=parents), ["a", "b", "c1"], {"dif.x": self.CARD})

    def test_a_parent_that_is_a_child_is_refused(self) -> None:
        with pytest.raises(ValueError, match="'b1' has the parent 'a1', which is a child itself"):
            DetectionTask(data="d", lineage={"a1": "a", "b1": "a1"})


class TestDirectly:
    @staticmethod
    def bank(patterns: np.ndarray, signs: list[int]) -> Bank:
        names = tuple("abcdefgh"[: len(patterns)])
        centres = np.array(signs, np.float32)
        return Bank(names, patterns.astype(np.float32), -centres, centres)

    def test_plain_is_numpys_of_turned_fingerprints(self) -> None:
        patterns = np.random.default_rng(0).normal(0, 1, (3, 3, 8, 8))
        signs = [1, -1, 1]
        found = compare_directly(self.bank(patterns, signs))
        turned = patterns.reshape(3, -1) * np.array(signs)[:, None]
        assert found.plain == pytest.approx(np.corrcoef(turned), abs=1e-6)
        assert found.values == 192

    def test_a_common_part_hides_kin_until_it_is_taken_off(self) -> None:
        rng = np.random.default_rng(1)
        common, kin = 10 * rng.normal(0, 1, (3, 16, 16)), rng.normal(0, 1, (3, 16, 16))
        patterns = common + rng.normal(0, 1, (6, 3, 16, 16))
        patterns[[0, 1]] += kin
        found = compare_directly(self.bank(patterns, [1] * 6))
        apart = ~np.eye(6, dtype=bool)
        assert found.plain[apart].min() > 0.9
        assert found.nearest("b", ["a", "c", "d", "e", "f"], centred=True) == "a"
        others = [found.centred[i, j] for i in range(2, 6) for j in range(2, 6) if i != j]
        assert np.mean(others) < 0 < found.centred[0, 1]

    def test_what_has_no_fingerprint_has_no_nearest(self) -> None:
        found = compare_directly(self.bank(np.random.default_rng(2).normal(0, 1, (2, 3, 8, 8)), [1, 1]))
        assert found.nearest("x", ["a"], centred=False) is None
        assert found.nearest("a", ["x"], centred=False) is None

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from harness.errors import DataError
from harness.fingerprints import neighbours
from harness.fingerprints.neighbours import Neighbours, learn_centres, recall

ROWS = st.integers(2, 30)


def brute(queries: np.ndarray, hashes: np.ndarray, rows: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The first of the nearest rows of another image, by definition."""
    distances = np.square(queries[:, None].astype(np.float64) - rows[None]).sum(axis=2)
    distances[hashes[:, None] == known[None]] = np.inf
    return distances.argmin(axis=1)


@settings(max_examples=40, deadline=None)
@given(st.data(), ROWS, st.integers(1, 6))
def test_equals_brute_force_with_ties_and_copies(data: st.DataObject, count: int, dimensions: int) -> None:
    """Few values, so that ties, copies and rows that all must be passed over are common."""
    values = st.integers(-3, 3).map(float)
    rows = data.draw(arrays(np.float32, (count, dimensions), elements=values))
    queries = data.draw(arrays(np.float32, (7, dimensions), elements=values))
    known = data.draw(arrays(np.uint64, count, elements=st.integers(0, 2)).filter(lambda made: len(set(made)) > 1))
    hashes = data.draw(arrays(np.uint64, 7, elements=st.integers(0, 3)))
    found, distances = Neighbours(rows, known).nearest(queries, hashes)
    expected = brute(queries, hashes, rows, known)
    assert (found == expected).all()
    np.testing.assert_array_equal(distances, np.square(queries.astype(np.float64) - rows[expected]).sum(axis=1))


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**16), st.integers(1, 40))
def test_blocks_of_any_size_answer_as_one(seed: int, block: int) -> None:
    random = np.random.default_rng(seed)
    rows, queries = (random.normal(size=(size, 24)).astype(np.float32) for size in (200, 40))
    known, hashes = np.arange(200, dtype=np.uint64), np.arange(40, dtype=np.uint64)
    search = Neighbours(rows, known)
    whole = search.nearest(queries, hashes)
    starts = range(0, 40, block)
    parts = [search.nearest(queries[start : start + block], hashes[start : start + block]) for start in starts]
    for place in (0, 1):
        np.testing.assert_array_equal(whole[place], np.concatenate([part[place] for part in parts]))


def test_more_queries_than_are_searched_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "BLOCK", 64)
    random = np.random.default_rng(0)
    rows, queries = (random.normal(size=(size, 8)).astype(np.float32) for size in (50, 37))
    known, hashes = np.arange(50, dtype=np.uint64), np.zeros(37, np.uint64)
    found, _ = Neighbours(rows, known, learn_centres(rows)).nearest(queries, hashes)
    assert ((found > 0) & (found < 50)).all()
    found, _ = Neighbours(rows, known).nearest(queries, hashes)
    assert (found == brute(queries, hashes, rows, known)).all()


def test_a_row_is_never_its_own_neighbour_however_often_it_stands_there() -> None:
    rows = np.concatenate([np.zeros((40, 3)), np.full((1, 3), 9.0)]).astype(np.float32)
    known = np.concatenate([np.zeros(40), [1]]).astype(np.uint64)
    for centres in (None, learn_centres(rows)):
        found, distances = Neighbours(rows, known, centres).nearest(rows[:1], known[:1])
        assert found.tolist() == [40] and distances.tolist() == [243.0]


def test_one_image_has_no_neighbour() -> None:
    with pytest.raises(DataError, match="two different images"):
        Neighbours(np.zeros((5, 2), np.float32), np.zeros(5, np.uint64))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e20])
def test_what_is_no_number_is_refused(value: float) -> None:
    search = Neighbours(np.eye(2, dtype=np.float32), np.arange(2, dtype=np.uint64))
    with pytest.raises(DataError, match="expected numbers below"):
        search.nearest(np.full((1, 2), value, np.float32), np.zeros(1, np.uint64))


def test_approximate_search_is_reproducible_and_its_recall_is_measured() -> None:
    random = np.random.default_rng(0)
    spots = random.normal(size=(20, 16)) * 8
    rows = (spots[random.integers(20, size=900)] + random.normal(size=(900, 16))).astype(np.float32)
    known = np.arange(900, dtype=np.uint64)
    centres = learn_centres(rows)
    assert centres.shape == (30, 16)
    np.testing.assert_array_equal(centres, learn_centres(rows))
    found = recall(rows, known, centres)
    exact, near = (Neighbours(rows, known, made).nearest(rows, known)[1] for made in (None, centres))
    assert (near >= exact).all()
    assert found == pytest.approx((near == exact).mean(), abs=0.05) and found > 0.9
    noise = random.normal(size=(900, 256)).astype(np.float32)
    assert recall(noise, known, learn_centres(noise)) < 0.9

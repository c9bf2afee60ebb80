import numpy as np
import pytest

from harness.search.cw import CarliniWagner
from harness.search.dflare import OPERATORS, Dflare, OperatorChain
from harness.search.diffchaser import DiffChaser
from harness.search.difffinder_cw import DiffFinderCw
from harness.search.difffinder_pgd import DiffFinderPgd
from harness.search.hunts import Pair
from harness.search.oracle import to_floats
from harness.search.requests import Slope
from harness.search.tanh_descent import TanhDescent

SEARCHERS = [DiffFinderCw(), DiffFinderPgd(), CarliniWagner(), Dflare(), DiffChaser()]


def named(searchers):
    return pytest.mark.parametrize("searcher", searchers, ids=lambda searcher: searcher.name)


def ends(searcher, seeds, pair, seed=0, width=3):
    return {end.seed.path: end for end in searcher.search(seeds, pair, seed, width)}


def decisions(image, pair):
    return [int(oracle.logits([image])[0].argmax()) for oracle in (pair.white, pair.black)]


def same(mine, theirs):
    return (mine is None) == (theirs is None) and (mine is None or np.array_equal(mine, theirs))


@named(SEARCHERS)
def test_what_is_kept_is_decided_differently(searcher, seeds, pair):
    found = ends(searcher, seeds, pair)
    assert found.keys() == {seed.path for seed in seeds}
    kept = [end for end in found.values() if end.kept is not None]
    assert kept
    for end in kept:
        white, black = decisions(end.kept, pair)
        assert white != black
        assert end.kept.shape == end.seed.pixels.shape
        assert end.kept.dtype == (np.float32 if searcher.needs_gradient else np.uint8)
        assert end.kept.min() >= 0
        assert end.kept.max() <= (1 if searcher.needs_gradient else 255)
        assert end.first.black <= end.spent.black
    assert not any(end.failure for end in found.values())


@named(SEARCHERS)
def test_a_search_repeats_itself_whoever_searches_beside_it(searcher, seeds, pair):
    once = ends(searcher, seeds, pair, width=8)
    for path, end in ends(searcher, reversed(seeds[:4]), pair, width=1).items():
        assert same(end.kept, once[path].kept)
        assert (end.spent.white, end.spent.black) == (once[path].spent.white, once[path].spent.black)


@named([DiffFinderPgd(), Dflare(), DiffChaser()])
def test_another_seed_is_another_search(searcher, seeds, pair):
    once, again = ends(searcher, seeds, pair), ends(searcher, seeds, pair, seed=1)
    assert any(not same(once[path].kept, again[path].kept) for path in once)


@named(SEARCHERS)
def test_one_model_does_not_disagree_with_itself(searcher, seeds, make_oracle):
    searcher = searcher.model_copy(update={"queries": 40})
    found = ends(searcher, seeds, Pair(make_oracle(), make_oracle(), make_oracle(gradient=True)))
    assert len(found) == len(seeds)
    for end in found.values():
        assert end.kept is None
        assert end.failure is None
        if not searcher.needs_gradient:
            assert 30 < end.spent.white == end.spent.black <= 40


@named([searcher.model_copy(update={"queries": 7, "gradients": 3}) for searcher in SEARCHERS])
def test_budgets_hold(searcher, seeds, pair):
    for end in ends(searcher, seeds, pair).values():
        assert max(end.spent.white, end.spent.black) <= 7
        assert end.spent.gradients <= (3 if searcher.needs_gradient else 0)


@named([Dflare(), DiffChaser()])
def test_black_box_searches_need_no_gradient(searcher, seeds, pair):
    found = ends(searcher, seeds, Pair(pair.white, pair.black))
    assert any(end.kept is not None for end in found.values())


def test_cw_asks_the_black_model_once(seeds, pair):
    for searcher in (CarliniWagner(), CarliniWagner(gradients=20)):
        for end in ends(searcher, seeds, pair).values():
            assert end.spent.black <= 1
            assert end.spent.white == 0
            assert end.spent.gradients == min(searcher.iterations, searcher.gradients)


def test_cw_keeps_only_what_is_off_the_label(seeds, pair):
    for end in ends(CarliniWagner(), seeds, pair).values():
        if end.kept is not None:
            assert decisions(end.kept, pair)[0] != end.seed.label


def test_difffinder_cw_stops_each_image_by_its_own_cost(seeds, pair):
    full, early = ends(DiffFinderCw(), seeds, pair), ends(DiffFinderCw(early_stop=True), seeds, pair)
    assert {end.spent.black for end in full.values()} == {50}
    assert len({end.spent.black for end in early.values()}) > 1
    alone = [ends(DiffFinderCw(early_stop=True), [seed], pair)[seed.path] for seed in seeds]
    assert all(end.spent.black == early[end.seed.path].spent.black for end in alone)


def test_a_descent_in_tanh_space_leaves_black_and_white_alone():
    seed = np.array([[[0, 255, 128], [1, 254, 60]]], np.uint8)
    descent = TanhDescent(seed, c=1.0, lr=0.1)
    np.testing.assert_allclose(descent.image, to_floats(seed), atol=1e-6)
    for _ in range(20):
        descent.step(Slope(np.zeros(2, np.float32), 1.0, np.ones(seed.shape, np.float32)))
    assert np.isfinite(descent.image).all()
    np.testing.assert_array_equal(descent.image[0, 0, :2], [0, 1])
    assert (descent.image[0, 0, 2], descent.image[0, 1, 2]) < (128 / 255, 60 / 255)
    assert descent.distance == pytest.approx(((descent.image - to_floats(seed)) ** 2).sum())


def test_difffinder_pgd_stays_in_its_ball(seeds, pair):
    for end in ends(DiffFinderPgd(eps=3.0, alpha=2.0), seeds, pair).values():
        assert (end.spent.black, end.spent.white, end.spent.gradients) == (11, 1, 10)
        if end.kept is not None:
            assert np.abs(end.kept - to_floats(end.seed.pixels)).max() <= 3 / 255 + 1e-6


def test_diffchaser_stays_near_its_seed_and_keeps_its_size(seeds, pair, make_oracle):
    searcher = DiffChaser(reach=5, rate=0.5, population=6, queries=200)
    for end in ends(searcher, seeds, pair).values():
        if end.kept is not None:
            assert np.abs(end.kept.astype(int) - end.seed.pixels).max() <= 5
    same = Pair(make_oracle(batch=64), make_oracle(batch=64))
    ends(searcher, seeds[:1], same)
    first, *rest = same.white.model.backend.asked
    assert first == 6
    assert set(rest) <= {4, 5}
    for images in same.white.model.backend.inputs:
        levels = np.rint(images.transpose(0, 2, 3, 1) * 255) - seeds[0].pixels
        assert np.abs(levels).max() <= 5


def test_diffchaser_comes_nearer_to_a_boundary(seeds, make_oracle):
    pair = Pair(make_oracle(batch=64), make_oracle(batch=64))
    list(DiffChaser(reach=20, rate=0.05, queries=400).search(seeds[:1], pair, 0, 1))
    said = [pair.white.logits(list(images.transpose(0, 2, 3, 1))) for images in pair.white.model.backend.inputs[:40]]
    certain = [np.diff(np.sort(logits, axis=1)[:, -2:]).min() for logits in said]
    assert min(certain[-10:]) < min(certain[:3]) / 2


def images_tried(seed, gaps, lead=0.0, novelty=0.5):
    """What DFLARE asks about, where models say class 0 at these gaps, and otherwise lean ``lead`` more every time."""
    steps = Dflare(novelty=novelty).steps(replace(seed, white=said(0.5), black=said(0.5)), np.random.default_rng(0))
    images = [next(steps).images[0]]
    for turn, gap in enumerate(gaps):
        rest = min(lead * turn, 1) if turn % 2 else 0
        images.append(steps.send(Answers(said(0.5 + gap, rest)[None], said(0.5, rest)[None])).images[0])
    return np.stack(images)


def said(first, lean=0.0):
    """Logits of four classes whose probabilities are ``first`` and, of the rest, mostly the second or spread evenly."""
    rest = (1 - first) * np.array([1 / 3 + lean * 0.6, 1 / 3 - lean * 0.3, 1 / 3 - lean * 0.3])
    return np.log(np.array([first, *rest])).astype(np.float32)


def test_dflare_goes_on_from_what_widens_the_gap(seeds):
    seed = replace(seeds[0], pixels=np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8))
    widening = images_tried(seed, np.linspace(0.01, 0.4, 30))
    level = images_tried(seed, np.zeros(30))
    hardly = images_tried(seed, np.linspace(0, 9e-4, 30))
    np.testing.assert_array_equal(level, hardly)
    single = [np.array_equal(OPERATORS[0](seed.pixels, np.random.default_rng(0)), image) for image in level]
    assert not all(single)
    far = ((widening.astype(float) - seed.pixels) ** 2).mean(axis=(1, 2, 3))
    near = ((level.astype(float) - seed.pixels) ** 2).mean(axis=(1, 2, 3))
    assert far[15:].mean() > 2 * near[15:].mean()


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.__name__)
def test_every_operator_really_changes_an_image_and_leaves_its_own(operator):
    image = np.random.default_rng(0).integers(0, 256, (32, 24, 3), dtype=np.uint8)
    before = image.copy()
    for turn in range(20):
        mutant = operator(image, np.random.default_rng(turn))
        assert mutant.shape == image.shape
        assert mutant.dtype == np.uint8
        assert (mutant != image).any()
        np.testing.assert_array_equal(image, before)


def test_gaussian_noise_neither_darkens_nor_brightens():
    image = np.full((200, 200, 3), 128, np.uint8)
    noise = OPERATORS[0](image, np.random.default_rng(0)).astype(float) - 128
    assert abs(noise.mean()) < 0.1
    assert noise.std() == pytest.approx(8, rel=0.02)


def test_operators_are_drawn_geometrically_by_rank():
    chain = OperatorChain(7, np.random.default_rng(0))
    chain.successes, chain.tries = np.array([1, 7, 3, 6, 2, 5, 4.0]), np.full(7, 10.0)
    drawn = np.bincount([chain.draw() for _ in range(20000)], minlength=7) / 20000
    by_rank = (6 / 7) ** np.arange(7)
    np.testing.assert_allclose(drawn[[1, 3, 5, 6, 2, 4, 0]], by_rank / by_rank.sum(), atol=0.012)


def test_an_operator_that_helps_is_drawn_more_often():
    chain = OperatorChain(3, np.random.default_rng(0))
    drawn = np.zeros(3)
    for _ in range(3000):
        turn = chain.draw()
        chain.tell(turn, turn == 2)
        drawn[turn] += 1
    assert drawn[2] > max(drawn[0], drawn[1])


def test_a_title_says_what_is_unusual():
    assert DiffFinderCw().title == "difffinder_cw"
    assert DiffFinderCw(c=10, iterations=200).title == "difffinder_cw c=10 iterations=200"
    assert DiffFinderPgd().id == "difffinder_pgd queries=500 gradients=500 eps=8 alpha=2 temperature=4 iterations=10"

import contextlib

import numpy as np
import pytest

from harness.search.boundary import Boundary
from harness.search.boundary_answers import BoundaryAnswers
from harness.search.cw import CarliniWagner
from harness.search.dflare import OPERATORS, Dflare, OperatorChain
from harness.search.diffchaser import DiffChaser
from harness.search.difffinder_cw import DiffFinderCw
from harness.search.difffinder_pgd import DiffFinderPgd
from harness.search.hunts import Pair, Seed
from harness.search.oracle import to_floats
from harness.search.requests import Answers, Ask, Differentiate, Keep, Slope
from harness.search.tanh_descent import TanhDescent

SEARCHERS = [
    DiffFinderCw(),
    DiffFinderPgd(),
    CarliniWagner(),
    Dflare(),
    DiffChaser(),
    Boundary(),
    BoundaryAnswers(),
]
FLOATS = DiffFinderCw | DiffFinderPgd | CarliniWagner
"""Those that keep images in [0, 1]; the others keep 8-bit ones."""


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
        assert end.kept.dtype == (np.float32 if isinstance(searcher, FLOATS) else np.uint8)
        assert end.kept.min() >= 0
        assert end.kept.max() <= (1 if isinstance(searcher, FLOATS) else 255)
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
        assert 0 < max(end.spent.white, end.spent.black) <= 40


@named([Dflare(), DiffChaser()])
def test_black_box_searches_go_on_until_their_budget_ends(searcher, seeds, make_oracle):
    searcher = searcher.model_copy(update={"queries": 40})
    for end in ends(searcher, seeds, Pair(make_oracle(), make_oracle())).values():
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


@named([DiffFinderCw(c=10), DiffFinderPgd()])
def test_nearer_images_take_the_place_of_farther_ones(searcher, seeds, pair):
    for seed in seeds:
        steps, answer, distances = searcher.steps(seed, np.random.default_rng(0)), None, []
        with contextlib.suppress(StopIteration):
            while True:
                request = steps.send(answer)
                match request:
                    case Keep(image):
                        distances.append(((image - to_floats(seed.pixels)) ** 2).sum())
                        answer = None
                    case Ask(images):
                        answer = Answers(pair.white.logits(images), pair.black.logits(images))
                    case Differentiate():
                        (answer,) = pair.gradient.slopes([request])
        assert (np.diff(distances) < 0).all()


@pytest.mark.parametrize("gradients", [20, 500])
def test_cw_asks_the_black_model_once_even_where_gradients_are_few(seeds, pair, gradients):
    found = ends(CarliniWagner(c=10, gradients=gradients), seeds, pair).values()
    assert {end.spent.gradients for end in found} == {min(50, gradients)}
    assert {end.spent.white for end in found} == {0}
    assert max(end.spent.black for end in found) == 1


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


def test_a_descent_is_adams_on_the_cost_in_tanh_space():
    draw = np.random.default_rng(0)
    seed = draw.integers(1, 255, (2, 2, 3), dtype=np.uint8)
    slope, offset, c, lr = draw.normal(size=seed.shape), 0.05, 0.7, 0.05
    x = seed / 255
    offset -= (slope * x).sum()

    def image(w):
        return (np.tanh(w) + 1) / 2

    def cost(w):
        return ((image(w) - x) ** 2).sum() + c * max((slope * image(w)).sum() + offset, 0)

    w, mean, square = np.arctanh(2 * x - 1), np.zeros(seed.shape), np.zeros(seed.shape)
    descent = TanhDescent(seed, c, lr)
    for turn in range(1, 30):
        margin = Slope(np.zeros(2, np.float32), (slope * descent.image).sum() + offset, slope.astype(np.float32))
        assert descent.cost(margin) == pytest.approx(cost(w), abs=1e-5)
        descent.step(margin)
        ends = [[cost(w + sign * 1e-6 * unit.reshape(w.shape)) for unit in np.eye(w.size)] for sign in (1, -1)]
        gradient = ((np.array(ends[0]) - ends[1]) / 2e-6).reshape(w.shape)
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        w = w - lr * (mean / (1 - 0.9**turn)) / (np.sqrt(square / (1 - 0.999**turn)) + 1e-8)
        np.testing.assert_allclose(descent.image, image(w), atol=2e-4)


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


def test_diffchaser_keeps_the_fittest_by_each_model(seeds):
    searcher, sure = DiffChaser(), said(0.9, 0.05)
    steps = searcher.steps(seeds[0], np.random.default_rng(0))
    asked = len(next(steps).images)
    white, black = np.stack([sure] * asked), np.stack([sure] * asked)
    white[3], black[7] = said(0.5, 0.45), said(0.5, 0.45)
    for _ in range(10):
        asked = len(steps.send(Answers(white, black)).images)
        assert asked == searcher.population - 2
        white = black = np.stack([sure] * asked)


def test_diffchaser_comes_nearer_to_a_boundary(seeds, make_oracle):
    pair = Pair(make_oracle(batch=64), make_oracle(batch=64))
    list(DiffChaser(reach=20, rate=0.05, queries=400).search(seeds[:1], pair, 0, 1))
    said = [pair.white.logits(list(images.transpose(0, 2, 3, 1))) for images in pair.white.model.backend.inputs[:40]]
    certain = [np.diff(np.sort(logits, axis=1)[:, -2:]).min() for logits in said]
    assert min(certain[-10:]) < min(certain[:3]) / 2


def said(first, second):
    """Logits of four classes of which two have these probabilities."""
    return np.log(np.array([first, second, *[(1 - first - second) / 2] * 2], np.float32))


def tried(answers, novelty=0.5):
    """What DFLARE asks about, and the seed, where it is answered so, white model first."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    seed = Seed(0, "0.png", pixels, said(0.9, 0.05), said(0.6, 0.2))
    steps = Dflare(novelty=novelty).steps(seed, np.random.default_rng(0))
    asked = [next(steps), *(steps.send(Answers(white[None], black[None])) for white, black in answers)]
    return np.stack([ask.images[0] for ask in asked]).astype(float), pixels


def test_dflare_goes_on_from_what_widens_the_gap_or_is_new():
    level, seed = tried([(said(0.9, 0.05), said(0.6, 0.2))] * 30)
    narrowing, _ = tried([(said(first, 0.05), said(0.6, 0.2)) for first in np.linspace(0.89, 0.61, 30)])
    widening, _ = tried([(said(0.9, 0.05), said(first, 0.2)) for first in np.linspace(0.59, 0.4, 30)])
    new, _ = tried([(said(0.9, 0.05), said(0.6, second)) for second in np.linspace(0.19, 0.01, 30)], novelty=1e-6)
    np.testing.assert_array_equal(level, narrowing)
    np.testing.assert_array_equal(widening, new)
    far, near = (((images[15:] - seed) ** 2).mean() for images in (widening, level))
    assert far > 1.5 * near


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


def test_the_chain_always_moves_to_a_better_operator():
    chain = OperatorChain(7, np.random.default_rng(0))
    chain.successes = np.arange(7, 0, -1.0)
    drawn = []
    for _ in range(7000):
        chain.last = 6
        drawn.append(chain.draw())
    np.testing.assert_allclose(np.bincount(drawn, minlength=7) / 7000, 1 / 7, atol=0.02)


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

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import NOT_FINITE, EndpointRefused, EndpointTimeout, EndpointUnavailable
from harness.search.hunts import Pair, Spent, hunt
from harness.search.requests import ask_black, ask_both, ask_white, keep, slope_of_kl, slope_of_margin

PLENTY = 1000


def ends(seeds, steps, pair, queries=PLENTY, gradients=PLENTY, width=8):
    """Every seed's end, in the seeds' order."""
    found = list(hunt(seeds, steps, pair, queries, gradients, width))
    return sorted(found, key=lambda end: end.seed.position)


def asked(oracle):
    return oracle.model.backend.asked


@pytest.mark.parametrize("transport", ["onnx", "grpc:served"])
def test_answers_do_not_depend_on_who_else_asks(make_oracle, seeds, transport):
    def run(width, batch):
        said = {}

        def steps(seed):
            heard = said.setdefault(seed.path, [])
            image = seed.pixels
            for _ in range(seed.position % 3 + 1):
                white, black = yield from ask_both(np.stack([image, 255 - image]))
                image = image // 2
                heard += [white, black, (yield from ask_white(image[None]))]
                slope = yield from slope_of_margin(image, seed.label, 4)
                other = yield from slope_of_kl(image, black[0], 4.0)
                heard += [slope.logits, slope.loss, slope.gradient, other.loss, other.gradient]
                heard.append((yield from ask_black(image[None])))

        oracles = [make_oracle(gradient=role == 2, batch=batch, transport=transport) for role in range(3)]
        ends(seeds, steps, Pair(*oracles), width=width)
        return said

    together, alone = run(width=5, batch=3), run(width=1, batch=1)
    assert together.keys() == alone.keys() == {seed.path for seed in seeds}
    for path, heard in alone.items():
        assert len(heard) == len(together[path])
        for mine, theirs in zip(heard, together[path], strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_all_that_is_asked_is_counted(pair, seeds):
    def steps(seed):
        yield from ask_white(np.stack([seed.pixels] * 2))
        yield from slope_of_margin(seed.pixels, seed.label, 4)
        yield from ask_both(np.stack([seed.pixels] * 3))
        yield from keep(seed.pixels)
        yield from ask_black(seed.pixels[None])
        yield from keep(255 - seed.pixels)

    found = ends(seeds, steps, pair)
    for end in found:
        assert (end.spent.white, end.spent.black, end.spent.gradients) == (5, 4, 1)
        assert (end.first.white, end.first.black, end.first.gradients) == (5, 3, 1)
        assert 0 < end.first.seconds < end.spent.seconds
        np.testing.assert_array_equal(end.kept, 255 - end.seed.pixels)
    assert sum(asked(pair.white)) == 5 * len(seeds)
    assert sum(asked(pair.black)) == 4 * len(seeds)
    assert sum(asked(pair.gradient)) == len(seeds)


KINDS = {"white": ask_white, "black": ask_black, "both": ask_both}


@settings(max_examples=40, deadline=None)
@given(
    script=st.lists(st.tuples(st.sampled_from([*KINDS, "slope"]), st.integers(1, 4)), max_size=12),
    queries=st.integers(1, 12),
    gradients=st.integers(0, 3),
)
def test_no_search_spends_more_than_it_may(make_oracle, seeds, script, queries, gradients):
    def steps(seed):
        for kind, count in script:
            if kind == "slope":
                yield from slope_of_margin(seed.pixels, seed.label, 4)
            else:
                yield from KINDS[kind](np.stack([seed.pixels] * count))

    wanted = Spent()
    for kind, count in script:
        more = wanted + Spent(
            count * (kind in ("white", "both")), count * (kind in ("black", "both")), int(kind == "slope")
        )
        if max(more.white, more.black) > queries or more.gradients > gradients:
            break
        wanted = more
    pair = Pair(make_oracle(), make_oracle(), make_oracle(gradient=True))
    (end,) = ends(seeds[:1], steps, pair, queries, gradients)
    assert (end.spent.white, end.spent.black, end.spent.gradients) == (wanted.white, wanted.black, wanted.gradients)
    assert [sum(asked(item)) for item in (pair.white, pair.black, pair.gradient)] == [
        wanted.white,
        wanted.black,
        wanted.gradients,
    ]
    assert end.failure is None


def test_a_budget_ends_a_search_with_what_it_has_kept(pair, seeds):
    def steps(seed):
        while True:
            yield from keep(seed.pixels)
            yield from ask_both(seed.pixels[None])

    for end in ends(seeds, steps, pair, queries=7):
        assert (end.spent.white, end.spent.black) == (7, 7)
        assert end.kept is not None
        assert end.failure is None


def test_searches_that_end_leave_the_batch_and_others_take_their_place(make_oracle, seeds):
    pair = Pair(make_oracle(batch=64), make_oracle())

    def steps(seed):
        for _ in range(seed.position):
            yield from ask_white(seed.pixels[None])

    found = list(hunt(seeds, steps, pair, PLENTY, PLENTY, width=3))
    assert sorted(end.seed.position for end in found) == list(range(8))
    assert sum(asked(pair.white)) == sum(range(8))
    assert max(asked(pair.white)) == 3
    assert asked(pair.white)[-1] == 1
    assert asked(pair.black) == []


def test_seeds_are_taken_only_as_searches_end(pair, seeds):
    taken = []

    def one_by_one():
        for seed in seeds:
            taken.append(seed.position)
            yield seed

    def steps(seed):
        yield from ask_white(seed.pixels[None])

    running = hunt(one_by_one(), steps, pair, PLENTY, PLENTY, width=2)
    next(running)
    assert len(taken) <= 4
    running.close()


def test_an_answer_that_is_not_finite_costs_one_search(make_oracle, seeds):
    pair = Pair(make_oracle(faults={1: "nan"}, batch=64), make_oracle(), make_oracle(gradient=True))

    def steps(seed):
        yield from ask_white(seed.pixels[None])
        yield from keep(seed.pixels)
        yield from ask_white(seed.pixels[None])
        yield from keep(255 - seed.pixels)

    spoilt, *fine = ends(seeds, steps, pair)
    assert spoilt.failure[0] == NOT_FINITE
    assert spoilt.spent.white == 2
    np.testing.assert_array_equal(spoilt.kept, spoilt.seed.pixels)
    for end in fine:
        assert end.failure is None
        np.testing.assert_array_equal(end.kept, 255 - end.seed.pixels)


def test_a_refused_request_costs_only_those_that_asked(make_oracle, seeds):
    refusal = EndpointRefused("no")
    pair = Pair(make_oracle(), make_oracle(faults={0: refusal}), make_oracle(gradient=True))
    kinds = [ask_white, ask_black, ask_both]

    def steps(seed):
        if seed.position % 4 < 3:
            yield from kinds[seed.position % 4](seed.pixels[None])
        else:
            yield from slope_of_margin(seed.pixels, seed.label, 4)
        yield from keep(seed.pixels)

    for end in ends(seeds, steps, pair):
        if end.seed.position % 4 in (1, 2):
            assert end.failure == ("endpoint:refused", "no")
            assert end.kept is None
            assert (end.spent.white, end.spent.black) == (0, 0)
        else:
            assert end.failure is None
            assert end.kept is not None


def test_a_pair_without_gradients_fails_those_that_want_one(make_oracle, seeds):
    def steps(seed):
        if seed.position % 2:
            yield from slope_of_margin(seed.pixels, seed.label, 4)
        yield from keep(seed.pixels)

    for end in ends(seeds, steps, Pair(make_oracle(), make_oracle())):
        assert (end.failure is not None) == (end.kept is None) == bool(end.seed.position % 2)


def test_a_malformed_answer_is_no_answer(make_oracle, seeds):
    def steps(seed):
        yield from ask_white(seed.pixels[None])

    (end,) = ends(seeds[:1], steps, Pair(make_oracle(faults={0: "shape"}), make_oracle()))
    assert end.failure[0] == "endpoint:bad_answer"


@pytest.mark.parametrize("transport", ["onnx", "grpc:served"])
@pytest.mark.parametrize("role", ["white", "black", "gradient"])
@pytest.mark.parametrize("error", [EndpointUnavailable, EndpointTimeout])
def test_an_endpoint_that_dies_loses_nothing_that_was_found(make_oracle, seeds, error, role, transport):
    def oracle(name):
        faults = {2: error("gone")} if name == role else {}
        return make_oracle(gradient=name == "gradient", faults=faults, batch=64, transport=transport)

    def steps(seed):
        for turn in range(seed.position):
            yield from ask_both(seed.pixels[None])
            yield from keep(seed.pixels + np.uint8(turn))
            yield from slope_of_margin(seed.pixels, seed.label, 4)

    found = []
    with pytest.raises(error, match="gone"):
        for end in hunt(seeds, steps, Pair(*map(oracle, ("white", "black", "gradient"))), PLENTY, PLENTY, width=6):
            found.append(end)  # noqa: PERF402
    by_place = {end.seed.position: end for end in found}
    assert len(by_place) == len(found)
    assert by_place[0].failure is None
    assert by_place[0].kept is None
    assert by_place[1].failure is None
    assert by_place[1].kept is not None
    failed = [end for end in found if end.failure]
    assert failed
    assert {end.failure[0] for end in failed} == {f"endpoint:{error.reason}"}
    deep = by_place[5]
    assert deep.spent.white >= 1
    np.testing.assert_array_equal(deep.kept, deep.seed.pixels + np.uint8(deep.spent.white - 1))


def test_what_is_kept_does_not_change_afterwards(pair, seeds):
    def steps(seed):
        image = seed.pixels.copy()
        yield from keep(image)
        image[:] = 0
        yield from ask_white(image[None])

    for end in ends(seeds, steps, pair):
        np.testing.assert_array_equal(end.kept, end.seed.pixels)

"""Shards of a plan: every open answer in exactly one, in whole chunks, of a bounded size."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from harness.cluster.job import SHARD
from harness.engines import open_chunks
from harness.plan import Cell
from harness.shards import cut, groups
from harness.spec.suite import SampleSpec


def cell(model: str, subset: str, degradation: str, images: int, batch: int = 3) -> Cell:
    key = f"{model}/{subset}/{degradation}/{batch}"
    return Cell(key, "t", model, "d", subset, 0, "test", degradation, images, SampleSpec(), batch)


@given(
    images=st.integers(0, 40),
    batch=st.integers(1, 9),
    most=st.integers(1, 60),
    answered=st.lists(st.sets(st.integers(0, 40)), min_size=1, max_size=4),
)
def test_every_open_answer_is_in_one_shard(images: int, batch: int, most: int, answered: list[set[int]]) -> None:
    cells = [cell("m", "s", str(number), images, batch) for number in range(len(answered))]
    masks = [open_chunks(np.array(sorted(said), np.int64), images, batch) for said in answered]
    wanted = {(mine.key, int(at)) for mine, mask in zip(cells, masks, strict=True) for at in np.flatnonzero(mask)}
    asked: Counter[tuple[str, int]] = Counter()
    for shard in cut(cells, masks, most):
        assert shard.start % batch == 0
        assert shard.stop % batch == 0 or shard.stop == images
        mine = [(key, at) for key, at in wanted if key in {one.key for one in shard.cells} and at in shard.span]
        assert shard.answers == len(mine) > 0
        assert shard.answers <= most or len({at // batch for _, at in mine}) == 1
        asked.update(mine)
    assert asked == Counter(wanted)


def test_a_shard_is_of_one_model_over_the_same_images_and_no_cell_stands_twice() -> None:
    cells = [cell(model, subset, how, 4) for subset in "ab" for how in ("none", "jpeg") for model in ("x.y", "z.w")]
    found = list(groups([*cells, *cells, cell("x.y", "a", "none", 4, batch=1)]))
    assert sorted(one.key for group in found for one in group) == sorted({one.key for one in cells} | {"x.y/a/none/1"})
    assert all(len({(one.model, one.subset, one.batch) for one in group}) == 1 for group in found)
    assert [group[0].model for group in found] == ["x.y"] * 3 + ["z.w"] * 2


def test_a_shard_crosses_machines_as_words() -> None:
    mine = [cell("x.y", "a", "none", 7)]
    (shard,) = cut(mine, [np.ones(7, bool)], 100)
    assert SHARD.validate_json(SHARD.dump_json(shard)) == shard

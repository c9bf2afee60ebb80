import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import SuiteError
from harness.report.contrasts import contrast_section
from harness.report.tree import Curves, Table
from harness.tasks.contrasts import Experiment, contrast, resample_trainings
from tests.unit.detections import Made, detection

ARMS = {"plain": "x.plain_*_s*", "more": "x.more_*_s*"}
GAIN = {("a", 0): 0.1, ("a", 1): 0.04, ("b", 0): 0.02, ("b", 1): -0.02}


def made(arm: str, gain: float = 0.0) -> list[Made]:
    found = []
    for (own, seed), step in GAIN.items():
        other = "b" if own == "a" else "a"
        cross = 0.6 + gain * step
        values = {own: 0.9, other: cross, "c": cross, ("jpeg quality=65", own): 0.8, ("jpeg quality=65", other): 0.5}
        found.append(Made(f"x.{arm}_{own}_s{seed}", (own,), values))
    return found


def experiment(**task: object) -> Experiment:
    task = {"arms": ARMS, "contrasts": [("more", "plain")]} | task
    found = contrast(detection([*made("plain"), *made("more", 1.0)], **task), 0)
    assert found is not None
    return found


def test_differences_are_means_over_twins() -> None:
    clean, degraded, own, own_degraded = experiment().contrasts
    assert (clean.first, clean.second, clean.domain, clean.condition) == ("more", "plain", "cross", "none")
    assert clean.difference.value == pytest.approx(np.mean(list(GAIN.values())))
    assert (clean.pairs, clean.higher) == (4, 3)
    assert degraded.condition == "jpeg quality=65"
    for item in (degraded, own, own_degraded):
        assert item.difference.value == pytest.approx(0)
        assert (item.higher, item.p) == (0, 1)
    assert own.domain == own_degraded.domain == "in_domain"


def test_what_images_do_to_both_arms_alike_is_no_uncertainty_of_the_difference() -> None:
    clean = experiment().contrasts[0]
    assert clean.images_alone.low == pytest.approx(clean.images_alone.high)
    assert clean.difference.low < clean.difference.value < clean.difference.high


def test_arms_have_the_mean_of_their_trainings() -> None:
    plain, more = experiment().arms
    assert (plain.name, plain.trainings) == ("plain", 4)
    assert plain.figures["cross", "none"].value == pytest.approx(0.6)
    assert more.figures["cross", "none"].value == pytest.approx(0.6 + np.mean(list(GAIN.values())))
    assert more.figures["in_domain", "none"].value == pytest.approx(0.9)
    assert plain.figures["cross", "none"].low < 0.6 < plain.figures["cross", "none"].high


def test_p_values_hold_together() -> None:
    both = experiment(contrasts=[("more", "plain"), ("plain", "more")]).contrasts[0]
    assert both.p == pytest.approx(2 * experiment().contrasts[0].p)
    assert both.p < 1


def test_only_twins_are_held_against_each_other() -> None:
    found = contrast(detection([*made("plain"), *made("more", 1.0)[:3]], arms=ARMS, contrasts=[("more", "plain")]), 0)
    assert found is not None
    assert found.contrasts[0].pairs == 3
    assert found.contrasts[0].difference.value == pytest.approx(np.mean(list(GAIN.values())[:3]))


@pytest.mark.parametrize(
    ("arms", "said"),
    [
        ({"plain": "x.plian_*", "more": "x.more_*"}, "arm 'plain' of task toy: expected detectors named x.plian_*"),
        ({"plain": "x.plain_a_s*", "more": "x.more_*"}, "contrast of 'more' and 'plain'"),
    ],
)
def test_arms_that_do_not_meet_are_named(arms: dict[str, str], said: str) -> None:
    with pytest.raises(SuiteError) as caught:
        experiment(arms=arms)
    assert said in str(caught.value)


def test_no_arms_no_experiment() -> None:
    assert contrast(detection(made("plain")), 0) is None


def test_a_contrast_of_an_unknown_arm_is_refused() -> None:
    with pytest.raises(ValueError, match="Did you mean 'plain'"):
        detection(made("plain"), arms=ARMS, contrasts=[("more", "plane")])


class TestResampling:
    def test_the_variance_is_that_of_a_mean_over_trainings(self) -> None:
        values = np.random.default_rng(1).normal(size=3)
        found = resample_trainings(np.repeat(values[:, None], 200_000, axis=1), [0, 0, 0], 0)
        assert found.mean() == pytest.approx(values.mean(), abs=0.01)
        assert found.var() == pytest.approx(values.var(ddof=1) / 3, rel=0.03)

    @given(st.integers(0, 100), st.integers(1, 4))
    def test_single_trainings_stay(self, seed: int, groups: int) -> None:
        draws = np.random.default_rng(seed).normal(size=(groups, 7))
        assert resample_trainings(draws, range(groups), seed) == pytest.approx(draws.mean(axis=0))

    @given(st.integers(0, 100), st.integers(1, 5))
    def test_no_mean_leaves_the_trainings(self, seed: int, trainings: int) -> None:
        draws = np.random.default_rng(seed).normal(size=(trainings, 9))
        found = resample_trainings(draws, ["g"] * trainings, seed)
        assert (found <= draws.max(axis=0) + 1e-12).all()
        assert (found >= draws.min(axis=0) - 1e-12).all()


def test_the_section_shows_tables_and_curves() -> None:
    section = contrast_section(experiment(), "toy", "")
    tables = [item for item in section.blocks if isinstance(item, Table)]
    assert [item.name for item in tables] == ["toy_contrasts_cross", "toy_contrasts_in_domain"]
    row = tables[0].rows[0]
    assert (row["first"], row["second"], row["condition"], row["higher"], row["pairs"]) == (
        "more",
        "plain",
        "clean",
        3,
        4,
    )
    pictures = [item for item in section.blocks if isinstance(item, Curves)]
    assert [list(item.series) for item in pictures] == [["plain", "more"]] * 2

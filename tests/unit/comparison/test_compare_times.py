"""Times of two runs: by ratio, against the noise of repeats and of A/A runs on the same machine."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom, ttest_ind

from harness.baselines import Side
from harness.compare import compare, compare_alike
from harness.comparison.change import Change, Floors, Place, adjust
from harness.comparison.latency import STEADY, Times, times_changes
from harness.comparison.noise import ASSUMED, WEIGHT, Aa, Noise, machine_of, read_noise, write_noise
from harness.errors import HarnessError, StoreError
from harness.events import Silent
from harness.pytest_benchmarks import benchmark_changes, dump_benchmarks, missing_benchmarks, read_benchmarks
from harness.stats.repeats import Repeated, ratio, repeated_percentile
from tests.unit.comparison.runs_by_hand import LOADS, MACHINE, loaded, write_run


def measured(
    random: np.random.Generator, slower: float = 1.0, run: float = 0.02, repeats: int = 5, requests: int = 600
) -> list[list[float]]:
    """Return seconds: a long tail within a repeat, drift between repeats and between runs."""
    base = 0.01 * slower * math.exp(random.normal(0, run))
    drift = np.exp(random.normal(0, 0.02, (repeats, 1)))
    return (base * drift * (0.8 + random.gamma(2, 0.1, (repeats, requests)))).tolist()


def times(before: Side, after: Side, noise: Noise | None = None) -> dict[str, Change]:
    found = compare(before, after, Silent(), noise=noise).changes
    return {change.figure: change for change in found}


def test_a_ratio_is_welchs_test_of_the_repeats_logarithms() -> None:
    random = np.random.default_rng(0)
    a, b = measured(random), measured(random, 1.1)
    found = [repeated_percentile(item, 50) for item in (a, b)]
    logs = [np.log(np.quantile(item, 0.5, axis=1, method="inverted_cdf")) for item in (a, b)]
    change, p = ratio(*found)
    wanted = ttest_ind(logs[1], logs[0], equal_var=False)
    assert p == pytest.approx(wanted.pvalue)
    assert change.value == pytest.approx(math.exp(logs[1].mean() - logs[0].mean()) - 1)
    low, high = wanted.confidence_interval(0.95)
    assert (change.low, change.high) == pytest.approx((math.expm1(low), math.expm1(high)))
    assert found[0].between == pytest.approx(logs[0].var(ddof=1) ** 0.5)


def test_one_repeat_leans_on_the_values_within_it() -> None:
    random = np.random.default_rng(0)
    alone = [repeated_percentile([np.exp(random.normal(0, 0.5, 400))], 50) for _ in range(300)]
    assert math.isnan(alone[0].between)
    assert np.mean([item.within for item in alone]) == pytest.approx(np.std([item.log for item in alone]), rel=0.15)


def test_repeats_that_agree_by_chance_are_trusted_no_more_than_their_values() -> None:
    values = np.exp(np.random.default_rng(0).normal(0, 0.5, 400))
    found = repeated_percentile([values, values], 50)
    assert found.between == 0
    assert found.variance == pytest.approx(found.within**2 / 2)


def test_constant_times_have_no_test() -> None:
    flat = Repeated(0.0, 0.0, 1.0, 0.0, 0.0, 10)
    assert ratio(flat, flat)[1] == 1.0
    assert math.isnan(ratio(flat, Repeated(0.1, 0.0, 1.0, 0.0, 0.0, 10))[1])


def test_a_fifth_slower_is_caught_and_failures_are_counted(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    runs = [loaded(tmp_path, f"aa{i}", measured(random)) for i in range(4)]
    noise = Noise().taught(item for i, b in enumerate(runs) for a in runs[:i] for item in compare_alike(a, b))
    slow = loaded(tmp_path, "slow", measured(random, 1.2), failed=3)
    found = times(runs[0], slow, noise)
    assert set(found) == {"median", "p90", "p99", "failures"}, "too few requests for p99.9"
    for figure in ("median", "p90", "p99"):
        assert found[figure].verdict(Floors()) == "worse", figure
        assert found[figure].change.low < 0.2 < found[figure].change.high
    assert (found["failures"].before, found["failures"].after) == (0, 3)
    assert times(runs[0], runs[0])["median"].verdict(Floors()) == "identical"


def test_where_nothing_is_slower_times_are_called_so_at_the_stated_rate(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    runs = [loaded(tmp_path, f"r{i}", measured(random, requests=100)) for i in range(50)]
    pairs = list(zip(runs[10::2], runs[11::2], strict=True))
    noise = Noise().taught(item for a, b in zip(runs[:10:2], runs[1:10:2], strict=True) for item in compare_alike(a, b))
    alarms = sum(any(change.adjusted < 0.05 for change in times(a, b, noise).values()) for a, b in pairs)
    assert alarms <= binom.ppf(0.999, len(pairs), 0.05)


def test_noise_is_learnt_beside_an_assumption(tmp_path: Path) -> None:
    assert Noise().between("median") == pytest.approx((ASSUMED**2, WEIGHT))
    random = np.random.default_rng(3)
    runs = [loaded(tmp_path, f"r{i}", measured(random, run=0.1)) for i in range(40)]
    pairs = zip(runs[::2], runs[1::2], strict=True)
    noise = Noise().taught(item for a, b in pairs for item in compare_alike(a, b))
    assert noise.between("median")[0] ** 0.5 == pytest.approx(0.1, rel=0.4)
    again = noise.taught(compare_alike(runs[1], runs[0]))
    assert len(again.seen) == len(noise.seen), "the same two runs teach once"


def test_noise_is_kept_by_machine(tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    a, b = (loaded(tmp_path, name, measured(random)) for name in "ab")
    path = write_noise(tmp_path, MACHINE, read_noise(tmp_path, MACHINE).taught(compare_alike(a, b)))
    assert path == tmp_path / "noise" / f"{machine_of(MACHINE)}.json"
    assert read_noise(tmp_path, {**MACHINE, "numpy": "9"}).seen, "versions make no other machine"
    other = {**MACHINE, "cores": "64"}
    assert not read_noise(tmp_path, other).seen
    path.write_text("{}}", encoding="utf-8")
    with pytest.raises(StoreError, match="noise model"):
        read_noise(tmp_path, MACHINE)
    elsewhere = loaded(tmp_path, "c", measured(random, 3), environment=other)
    change = times(a, elsewhere)["median"]
    assert math.isnan(change.p)
    assert change.note == "measured on another machine"
    with pytest.raises(HarnessError, match="two machines"):
        compare_alike(a, elsewhere)


def benchmark_file(path: Path, seconds: float, iqr: float = 0.001, cpu: str = "x", names: str = "a") -> Path:
    stats = {"median": seconds, "iqr": iqr, "rounds": 50, "mean": 1.0, "unknown": None}
    ran = [{"fullname": f"t.py::test_{name}", "stats": stats} for name in names]
    said = {"benchmarks": ran, "machine_info": {"cpu": {"brand_raw": cpu}}}
    path.write_text(json.dumps(said), encoding="utf-8")
    return path


def test_medians_of_pytest_benchmark_become_changes(tmp_path: Path) -> None:
    a, b = benchmark_file(tmp_path / "a", 0.1), benchmark_file(tmp_path / "b", 0.13)
    (change,) = benchmark_changes(read_benchmarks(a), read_benchmarks(b), Noise())
    assert change.change.value == pytest.approx(0.3)
    assert change.p < 0.01
    (elsewhere,) = benchmark_changes(
        read_benchmarks(a), read_benchmarks(benchmark_file(tmp_path / "c", 0.3, cpu="y")), Noise()
    )
    assert math.isnan(elsewhere.p)


def test_a_benchmark_that_did_not_run_is_missing(tmp_path: Path) -> None:
    a, b = (read_benchmarks(benchmark_file(tmp_path / names, 0.1, names=names)) for names in ("abc", "bd"))
    assert missing_benchmarks(a, b) == [Place("pytest-benchmark", f"t.py::test_{name}", "") for name in "ac"]
    assert missing_benchmarks(a, a) == []


def test_a_runs_times_are_written_as_pytest_benchmark_does(tmp_path: Path) -> None:
    seconds = measured(np.random.default_rng(5))
    side = loaded(tmp_path, "a", seconds)
    path = tmp_path / "out.json"
    path.write_text(dump_benchmarks(side, "abc"), encoding="utf-8")
    (found,) = read_benchmarks(path).benchmarks
    assert found.stats.median == pytest.approx(np.median(seconds))
    assert found.stats.rounds == 3000
    stats = json.loads(path.read_text())["benchmarks"][0]["stats"]
    assert stats["stddev"] == pytest.approx(np.std(seconds, ddof=1))
    assert stats["q3"] - stats["q1"] == pytest.approx(stats["iqr"])


def queued(random: np.random.Generator, load: float, requests: int = 4000, slower: float = 1.0) -> Times:
    """Return the latencies of one repeat of an M/D/1 queue: Lindley's recursion as a running minimum."""
    service = 0.01 * slower
    steps = service - random.exponential(0.01 / load, requests)
    walk = np.cumsum(steps)
    waited = walk - np.minimum.accumulate(np.minimum(walk, 0))
    return Times(service + np.r_[0, waited[:-1]], np.zeros(requests, np.int64), 0)


@pytest.mark.parametrize(("load", "steady", "tests"), [(0.3, STEADY, 60), (0.8, math.inf, 60), (0.8, STEADY, 0)])
def test_one_repeat_of_a_queue_raises_few_false_alarms(
    load: float, steady: float, tests: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Near its limit a queue does not hold still and is not tested; if it were, alarms would still be few."""
    monkeypatch.setattr("harness.comparison.latency.STEADY", steady)
    random, alarms, tested = np.random.default_rng(8), 0, 0
    for _ in range(60):
        found = adjust(list(times_changes(Place("l", "m.x", ""), queued(random, load), queued(random, load), Noise())))
        alarms += any(change.adjusted < 0.05 for change in found)
        tested += any(not math.isnan(change.p) for change in found)
    assert alarms <= 0.2 * 60, f"{alarms} of 60"
    assert tested == tests


def test_one_repeat_still_tells_what_is_slower() -> None:
    random = np.random.default_rng(9)
    found = adjust(
        list(times_changes(Place("l", "m.x", ""), queued(random, 0.3), queued(random, 0.3, slower=1.5), Noise()))
    )
    verdicts = {change.figure: (change.verdict(Floors()), change.note) for change in found}
    assert verdicts["p90"][0] == "worse"
    assert verdicts["p99"] == ("untested", "one repeat"), "400 requests a block are too few for it"


def test_a_load_that_drifts_is_not_tested() -> None:
    steady = Times(np.full(1000, 0.01), np.zeros(1000, np.int64), 0)
    growing = Times(np.linspace(0.01, 0.02, 1000), np.zeros(1000, np.int64), 0)
    for change in times_changes(Place("l", "m.x", ""), steady, growing, Noise()):
        assert math.isnan(change.p)
        assert change.note.startswith("unsteady")


def test_all_loads_of_two_runs_are_one_piece_of_evidence() -> None:
    def seen(runs: tuple[str, str], place: str, log_ratio: float) -> Aa:
        return Aa(runs=runs, place=place, figure="median", log_ratio=log_ratio, variance=0.0)

    once = Noise().taught([seen(("a", "b"), "1", 0.2)])
    often = Noise().taught([seen(("a", "b"), str(place), 0.2) for place in range(9)])
    assert often.between("median") == pytest.approx(once.between("median"))
    assert once.between("median") == pytest.approx(((3 * ASSUMED**2 + 0.02) / 4, 4))


def test_offline_is_compared_by_service_and_peaks_are_left_out(tmp_path: Path) -> None:
    seconds = measured(np.random.default_rng(5))
    sides = [loaded(tmp_path, name, seconds, load="Offline") for name in "ab"]
    assert times(sides[0], sides[1])["median"].after == pytest.approx(np.median(seconds), rel=0.01)
    (key,) = sides[0].info.cells.values()
    both = write_run(tmp_path, "c", {"l/m.x/Offline": key, "l/m.x/peak slo_ms=50": key}, [LOADS])
    (told,) = json.loads(dump_benchmarks(both, "abc"))["benchmarks"]
    assert told["stats"]["median"] == pytest.approx(np.median(seconds))


def test_a_noise_model_with_numbers_that_no_times_have_is_refused(tmp_path: Path) -> None:
    path = write_noise(
        tmp_path, MACHINE, Noise(seen=(Aa(runs=("a", "b"), place="p", figure="p99", log_ratio=1, variance=0),))
    )
    path.write_text(path.read_text().replace("1.0", "1e200"))
    with pytest.raises(StoreError):
        read_noise(tmp_path, MACHINE)

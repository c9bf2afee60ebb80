import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.backends.base import EndpointOptions
from harness.backends.scripted import Fault, Script, ScriptedBackend, read_script
from harness.errors import EndpointError, EndpointRefused, EndpointTimeout, EndpointUnavailable, SuiteError

BATCH = np.stack([np.full((4, 4, 3), value, np.uint8) for value in (0, 51, 255)])


def backend(sleeps: list[float] | None = None, **script: Any) -> ScriptedBackend:
    said = Script.model_validate({"card": {"name": "scripted.one"}, **script})
    return ScriptedBackend("scripted:x", said, EndpointOptions(), sleep=(sleeps if sleeps is not None else []).append)


def test_brightness_is_the_mean_pixel() -> None:
    np.testing.assert_allclose(backend().infer({"image": BATCH})["score"], [[0.0], [0.2], [1.0]], rtol=1e-6)


def test_hash_depends_on_each_image_alone() -> None:
    whole = backend(rule="hash").infer({"image": BATCH})["score"]
    single = [backend(rule="hash").infer({"image": BATCH[[index]]})["score"][0] for index in range(3)]
    np.testing.assert_array_equal(whole, single)
    assert len(np.unique(whole)) == 3
    assert ((whole >= 0) & (whole < 1)).all()


def test_every_head_answers() -> None:
    heads = [{"name": "a"}, {"name": "b"}]
    assert backend(card={"name": "scripted.one", "heads": heads}).infer({"image": BATCH})["score"].shape == (3, 2)


@pytest.mark.parametrize(
    ("fault", "struck"),
    [
        ({"first": 0, "times": 1}, [0]),
        ({"first": 2}, [2, 3, 4, 5, 6, 7]),
        ({"first": 1, "every": 3}, [1, 4, 7]),
        ({"first": 1, "every": 2, "times": 2}, [1, 3]),
    ],
)
def test_faults_strike_as_scripted(fault: dict[str, int], struck: list[int]) -> None:
    rule = Fault.model_validate({"kind": "timeout", **fault})
    assert [request for request in range(8) if rule.strikes(request)] == struck


@pytest.mark.parametrize(
    ("kind", "error"),
    [("unavailable", EndpointUnavailable), ("timeout", EndpointTimeout), ("refused", EndpointRefused)],
)
def test_faults_are_the_real_classes(kind: str, error: type[EndpointError]) -> None:
    model = backend(faults=[{"kind": kind, "times": 1}])
    with pytest.raises(error, match=f"scripted {kind}"):
        model.infer({"image": BATCH})
    assert model.infer({"image": BATCH})["score"].shape == (3, 1)
    assert model.requests == 2


def test_bad_answers() -> None:
    nan = backend(faults=[{"kind": "nan"}]).infer({"image": BATCH})["score"]
    assert np.isnan(nan).ravel().tolist() == [True, False, False]
    assert len(backend(faults=[{"kind": "shape"}]).infer({"image": BATCH})["score"]) == 2


def test_delays_are_waited() -> None:
    sleeps: list[float] = []
    backend(sleeps, delay_s=0.5).infer({"image": BATCH})
    assert sleeps == [0.5]


def test_the_digest_is_of_what_it_answers() -> None:
    plain = backend().info().weights_sha256
    assert backend(delay_s=1, faults=[{"kind": "nan"}]).info().weights_sha256 == plain
    assert backend(rule="hash").info().weights_sha256 != plain


def test_scripts_come_from_files_and_inline(tmp_path: Path) -> None:
    script = {"card": {"name": "scripted.one"}, "rule": "hash"}
    (tmp_path / "script.yaml").write_text("card: {name: scripted.one}\nrule: hash\n")
    assert (
        read_script(json.dumps(script)) == read_script(str(tmp_path / "script.yaml")) == Script.model_validate(script)
    )


@pytest.mark.parametrize("where", ["nowhere.yaml", '{"card": {"name": "scripted.one"}, "rule": "magic"}', "{"])
def test_a_bad_script_is_a_suite_error(where: str) -> None:
    with pytest.raises(SuiteError, match="expected a script"):
        read_script(where)

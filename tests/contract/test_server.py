"""The real server's life: started, asked, stopped, killed, and what it says of a broken entry."""

import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from harness.backends import EndpointOptions, open_backend
from harness.errors import CardError, EndpointUnavailable
from harness.serving import TritonServer, find_tritonserver
from harness.serving.server import free_ports

pytestmark = pytest.mark.triton


@pytest.fixture(autouse=True)
def there() -> None:
    if find_tritonserver() is None:
        pytest.skip("no tritonserver here: the extra `serve` is not installed")


@pytest.fixture
def mean(tmp_path: Path) -> Path:
    """A repository with one entry that is left to the server to complete: the mean of four numbers."""
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["x"], ["y"], axes=[1], keepdims=0)],
        "mean",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch"])],
    )
    entry = tmp_path / "repository" / "small.mean"
    (entry / "1").mkdir(parents=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=9)
    onnx.save(model, entry / "1" / "model.onnx")
    (entry / "config.pbtxt").write_text('name: "small.mean"\nbackend: "onnxruntime"\n')
    return tmp_path / "repository"


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def gone(pid: int, within: float = 20.0) -> bool:
    deadline = time.monotonic() + within
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not alive(pid)


def children(pid: int) -> list[int]:
    return [
        int(word) for task in Path(f"/proc/{pid}/task").iterdir() for word in (task / "children").read_text().split()
    ]


def test_an_entry_without_tensors_is_completed_answers_and_leaves_nothing(mean: Path) -> None:
    with TritonServer(mean) as server:
        process, home = server._process, server._home
        assert process is not None
        backend = open_backend(server.grpc_url("small.mean"), EndpointOptions())
        info = backend.info()
        assert info.inputs == {"x": ("FP32", (-1, 4))}
        assert info.outputs == {"y": ("FP32", (-1, 1))}
        values = np.arange(8, dtype=np.float32).reshape(2, 4)
        np.testing.assert_array_equal(backend.infer({"x": values})["y"], values.mean(axis=1)[:, None])
        backend.close()
        assert server.running
    assert process.returncode is not None
    assert not home.exists()
    server.stop()


def test_the_server_listens_on_loopback_alone(mean: Path) -> None:
    with TritonServer(mean) as server:
        ports = {server.http_port, server.grpc_port, server.metrics_port}
        listening = {}
        for table in ("tcp", "tcp6"):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                address, _, port = line.split()[1].partition(":")
                if line.split()[3] == "0A" and int(port, 16) in ports:
                    listening[int(port, 16)] = address
        assert set(listening) == ports
        assert {address.removeprefix("0000000000000000FFFF0000") for address in listening.values()} == {"0100007F"}


def test_a_broken_entry_is_named_with_what_is_wrong(mean: Path) -> None:
    (mean / "small.mean" / "1" / "model.onnx").write_bytes(b"no graph at all")
    with pytest.raises(EndpointUnavailable, match=r"(?s)small\.mean.*(INVALID_PROTOBUF|Protobuf)"), TritonServer(mean):
        pass


@pytest.mark.parametrize("times", [1, 2])
def test_a_server_that_crashes_while_starting_is_started_once_more(mean: Path, times: int) -> None:
    server = TritonServer(mean)
    killed: list[int] = []

    def kill() -> None:
        while len(killed) < times:
            process = server._process
            if process is not None and process.pid not in killed:
                process.kill()
                killed.append(process.pid)
            time.sleep(0.001)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        if times == 1:
            server.start()
            assert server._process is not None
            assert server._process.pid not in killed
            assert server.running
        else:
            with pytest.raises(EndpointUnavailable, match="a server that stays up"):
                server.start()
    finally:
        server.stop()
        killer.join(10)


def test_free_ports_are_free_and_different() -> None:
    ports = free_ports("127.0.0.1", 5)
    assert len(set(ports)) == 5
    for port in ports:
        with socket.socket() as item:
            item.bind(("127.0.0.1", port))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_server_dies_with_its_owner(mean: Path, number: signal.Signals) -> None:
    code = (
        "import sys, time; from pathlib import Path; from harness.serving import TritonServer\n"
        "with TritonServer(Path(sys.argv[1])) as server:\n"
        "    print(server._process.pid, flush=True); time.sleep(100)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(mean)], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        stubs = children(pid)
        owner.send_signal(number)
        owner.wait(20)
    assert gone(pid)
    assert all(gone(stub) for stub in stubs)


@pytest.fixture
def serving(mean: Path) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "harness", "serve", str(mean), "--model", "small.*"]
    ports = ["--http-port", "0", "--grpc-port", "0", "--metrics-port", "0"]
    with subprocess.Popen([*command, *ports], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_prints_endpoints_and_ends_cleanly(serving: "subprocess.Popen[str]", number: signal.Signals) -> None:
    assert serving.stdout is not None
    line = serving.stdout.readline()
    found = re.search(r"grpc://\S+", line)
    assert found, line
    backend = open_backend(found[0], EndpointOptions())
    assert backend.infer({"x": np.ones((1, 4), np.float32)})["y"].tolist() == [[1.0]]
    backend.close()
    serving.send_signal(number)
    said, complained = serving.communicate(timeout=30)
    assert serving.returncode == 0, complained
    assert said.endswith("stopped\n")


def test_serving_what_is_not_there_says_so(mean: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "harness", "serve", str(mean), "--model", "small.men"], capture_output=True, text=True
    )
    assert done.returncode == CardError.exit_code
    assert "small.mean" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_server_names_the_command_that_installs_one(mean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "pytriton" else find(name))
    monkeypatch.setattr(shutil, "which", lambda *_: None)
    if Path("/opt/tritonserver/bin/tritonserver").exists():
        pytest.skip("a server is installed on this machine")
    server = TritonServer(mean)
    with pytest.raises(EndpointUnavailable, match="uv sync --extra serve"):
        server.start()
    server.stop()
    assert not server._home.exists()
    assert os.environ.get("PYTHONHOME") is None


def test_a_served_gradient_is_the_one_in_process(tmp_path: Path) -> None:
    catalog = pytest.importorskip("export.catalog", reason="exporting needs the extra `export`")
    options = {"weights": "seeded:0", "with_gradient": "yes"}
    catalog.export_model("squeezenet1_1.tv_float", repository=tmp_path / "r", options=options)
    name = "squeezenet1_1.tv_float.gradient"
    random = np.random.default_rng(0)
    inputs = {
        "image": random.random((2, 3, 224, 224), np.float32),
        "target": random.normal(size=(2, 1000)).astype(np.float32),
        "mode": np.array([[0], [1]], np.int32),
        "temperature": np.full((2, 1), 4, np.float32),
    }
    here = open_backend(f"onnx:{tmp_path / 'r' / name / '1' / 'model.onnx'}", EndpointOptions())
    with TritonServer(tmp_path / "r", [name]) as server:
        there = open_backend(server.grpc_url(name), EndpointOptions())
        wanted, found = here.infer(inputs), there.infer(inputs)
        there.close()
    assert set(found) == {"logits", "loss", "gradient"}
    assert found["gradient"].shape == (2, 3, 224, 224)
    assert np.abs(found["gradient"]).max() > 0
    for key, value in wanted.items():
        np.testing.assert_array_equal(found[key], value)

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage
from sklearn.metrics import roc_auc_score
from tritonclient.grpc.model_config_pb2 import ModelInstanceGroup

from export import catalog
from export.catalog import EXPORTS, Built, Export, build, export_model, read_claims
from export.checkpoints import read_dif_bank
from export.onnx import attached_card, file_sha256
from export.residual_filters import Bilateral, DnCNN
from export.triton import verify_lock
from harness.backends.ort import open_session
from harness.errors import CardError, CheckpointError, ParityError
from harness.fingerprints.bank import BANK_FILE, read_bank
from harness.images.preprocess import preprocess
from harness.repository import find_entries, read_config
from harness.serving import find_tritonserver
from tests.unit.export.conftest import make_bank, make_filter

Published = Callable[..., Path]


@pytest.fixture
def unserved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the server out of the verdict, as on a machine without one."""
    monkeypatch.setattr(catalog, "find_tritonserver", lambda: None)


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights of the miniature's shape, made up."""
    folder = tmp_path / "weights"
    make_bank(("deconv", "nearest"), side=32).save(folder / "dif_miniature.npz")
    make_filter().save(folder / "dncnn_miniature.pt")
    monkeypatch.setattr(catalog, "WEIGHTS", folder)
    return folder


@pytest.mark.usefixtures("unserved")
def test_an_export_ends_as_a_locked_entry_that_carries_its_verdict(weights: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    parity = export_model("dif.miniature", repository=tmp_path / "repository", options={}, say=lines.append)
    (entry,) = find_entries(tmp_path / "repository")
    assert parity.passed
    assert parity.served_max_abs is None
    assert entry.name == "dif.miniature"
    assert entry.card.parity == parity
    assert attached_card(entry.model_file) == entry.card
    assert [head.name for head in entry.card.heads] == ["deconv", "nearest"]
    assert entry.card.preprocess.crop == 32
    assert entry.card.training["filter_sha256"] == file_sha256(weights / "dncnn_miniature.pt")
    assert entry.card.training["bank_sha256"] == file_sha256(weights / "dif_miniature.npz")
    assert (entry.folder / BANK_FILE).read_bytes() == (weights / "dif_miniature.npz").read_bytes()
    assert verify_lock(tmp_path / "repository") == []
    assert "parity holds" in lines[-1]


@pytest.mark.triton
@pytest.mark.skipif(find_tritonserver() is None, reason="no tritonserver on this machine")
def test_the_verdict_covers_a_real_server(weights: Path, tmp_path: Path) -> None:
    parity = export_model("dif.miniature", repository=tmp_path / "repository", options={})
    assert parity.served_max_abs is not None
    assert parity.served_max_abs <= parity.tolerance


@pytest.mark.usefixtures("unserved")
def test_nothing_is_written_where_parity_fails(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unfolded() -> Built:
        built = build("dif.published", {"checkpoints": str(tmp_path / "checks")})
        return replace(built, tolerance=-1.0)

    from tests.unit.export.conftest import write_published

    write_published(tmp_path / "checks", "mj")
    monkeypatch.setattr(catalog, "EXPORTS", {**EXPORTS, "dif.strict": Export("Allows no difference", unfolded)})
    with pytest.raises(ParityError, match="differences up to -1"):
        export_model("dif.strict", repository=tmp_path / "repository", options={})
    assert not (tmp_path / "repository").exists()


@pytest.mark.usefixtures("unserved")
def test_published_checkpoints_take_a_tag_a_device_and_claims(published: Published, tmp_path: Path) -> None:
    claims = tmp_path / "claims.csv"
    claims.write_text("generator,accuracy\nmj,99.0\nsd14,99.3\nglide,90.3\n")
    options = {"checkpoints": str(published("mj", "sd14")), "claims": str(claims), "tag": "bilateral", "device": "gpu"}
    export_model("dif.published", repository=tmp_path / "repository", options=options)
    (entry,) = find_entries(tmp_path / "repository", "dif.bilateral")
    assert entry.card.claims == {"balanced_accuracy@mj": 0.99, "balanced_accuracy@sd14": 0.993}
    assert entry.card.training["filter"] == "bilateral"
    assert entry.card.training["mj_sha256"] == file_sha256(tmp_path / "checks" / "mj" / "chk_0.pt")
    (group,) = read_config(entry.folder / "config.pbtxt").instance_group
    assert group.kind == ModelInstanceGroup.KIND_GPU


@pytest.mark.usefixtures("unserved")
def test_published_checkpoints_aligned_keep_their_orientation(published: Published, tmp_path: Path) -> None:
    checkpoints = published("mj", "sd14")
    options = {"checkpoints": str(checkpoints)}
    export_model("dif.published_aligned", repository=tmp_path / "repository", options=options)
    (entry,) = find_entries(tmp_path / "repository")
    known, found = read_dif_bank(checkpoints), read_bank(entry.folder, entry.card)
    assert found.reach == entry.card.training["reach"] == 8
    np.testing.assert_array_equal([found.mu_real, found.mu_fake], [known.mu_real, known.mu_fake])
    assert "not calibrated" in entry.card.summary
    assert entry.card.claims == {}


def test_a_filter_of_ones_own(published: Published, tmp_path: Path) -> None:
    make_filter().save(tmp_path / "filter.pt")
    checkpoints = str(published("mj"))
    own = build("dif.published", {"checkpoints": checkpoints, "filter": str(tmp_path / "filter.pt")})
    classical = build("dif.published", {"checkpoints": checkpoints})
    assert not any(isinstance(module, DnCNN) for module in own.module.modules()), "folded"
    assert any(isinstance(module, Bilateral) for module in classical.module.modules())
    assert own.card.training["filter"] == f"dncnn sha256:{file_sha256(tmp_path / 'filter.pt')}"


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("dif.minature", {}, "Did you mean 'dif.miniature'"),
        ("dif.*", {}, "a known name"),
        ("dif.published", {}, "missing a required argument: 'checkpoints'"),
        ("dif.published", {"checkpoint": "x"}, "checkpoints, filter, claims, tag"),
        ("dif.miniature", {"filter": "bilateral"}, "no options"),
        ("dif.miniature", {"device": "tpu"}, "one of auto, cpu, gpu, got 'tpu'"),
    ],
)
def test_what_can_not_be_asked(tmp_path: Path, name: str, options: dict[str, str], said: str) -> None:
    with pytest.raises(CardError, match=said.replace("*", r"\*")):
        export_model(name, repository=tmp_path, options=options)


@pytest.mark.parametrize("tag", ["../up", "Two Words", "", "a/b"])
def test_a_tag_never_becomes_another_path(published: Published, tag: str) -> None:
    with pytest.raises(CardError, match="a valid card"):
        build("dif.published", {"checkpoints": str(published("mj")), "tag": tag})


@pytest.mark.parametrize("file", ["dif_miniature.npz", "dncnn_miniature.pt"])
def test_missing_weights_are_named(weights: Path, file: str) -> None:
    (weights / file).unlink()
    with pytest.raises(CheckpointError, match=file):
        build("dif.miniature", {})


def test_a_missing_filter_is_named(published: Published) -> None:
    with pytest.raises(CheckpointError, match=r"none\.pt"):
        build("dif.published", {"checkpoints": str(published("mj")), "filter": "none.pt"})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name,accuracy\nmj,99\n",
        "generator,accuracy\nmj,high\n",
        "generator,accuracy\nmj,101\n",
        "generator,accuracy\nmj\n",
    ],
)
def test_claims_that_are_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "claims.csv"
    path.write_text(text)
    with pytest.raises(CheckpointError, match=r"claims\.csv"):
        read_claims(path)
    with pytest.raises(CheckpointError, match="No such file"):
        read_claims(tmp_path / "none.csv")


def test_every_export_says_what_it_is() -> None:
    assert all(item.summary for item in EXPORTS.values())


@pytest.mark.slow
@pytest.mark.skipif("DISCERN_DATA" not in os.environ, reason="published checkpoints and images need DISCERN_DATA")
@pytest.mark.usefixtures("unserved")
def test_published_fingerprints_find_their_own_generators(tmp_path: Path) -> None:
    """Sign and orientation are right: with them reversed the AUROC would be near 0."""
    data = Path(os.environ["DISCERN_DATA"]) / "dif"
    export_model("dif.published", repository=tmp_path, options={"checkpoints": str(data / "checks")})
    (entry,) = find_entries(tmp_path)
    session = open_session(entry.model_file)
    names = [head.name for head in entry.card.heads]
    for generator in ("sd14", "mj", "dalle_mini", "sd21"):
        files = [sorted((data / "images" / generator / part).iterdir()) for part in ("0_real", "1_fake")]
        pixels = [np.asarray(PILImage.open(file).convert("RGB")) for part in files for file in part]
        inputs = np.stack([preprocess(image, entry.card.preprocess) for image in pixels])
        (scores,) = session.run(None, {"image": inputs})
        labels = np.repeat([0, 1], [len(part) for part in files])
        assert roc_auc_score(labels, scores[:, names.index(generator)]) >= 0.98

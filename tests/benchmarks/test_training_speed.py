"""What a training waits for its images, at 224 px with a network of ResNet-18's size."""

from pathlib import Path

import pytest

MOST = 0.1


@pytest.mark.slow
def test_training_waits_little_for_images(benchmark: object, photographs: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="training needs the extra `export`")
    from lightning_fabric import Fabric
    from torchvision.models import resnet18

    from export.detectors import Architecture
    from export.training.jobs import Job, choose
    from export.training.loop import fit
    from export.training.recipe import Recipe
    from export.training.spec import DetectorSpec
    from harness.data.opening import open_dataset
    from harness.events import Silent
    from harness.images.preprocess import Preprocess
    from harness.spec.suite import DataSpec

    spec = DetectorSpec.model_validate({"data": "d", "split": "test", "validation": {"share": 0.2}})
    data = open_dataset("d", DataSpec(layout="real_fake", root=str(photographs)), tmp_path, tmp_path, Silent())
    train, validation = choose(spec, data, ("set",), 0)

    class Body(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = resnet18(num_classes=1)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return self.body(image)[:, 0]

    recipe = Recipe(epochs=1, batch=8, lr=1e-3)
    takes = dict.fromkeys(("full", "miniature"), Preprocess(resize=256, crop=224))
    one = Architecture("resnet18", "", "", lambda scale, pretrained: Body(), takes, dict.fromkeys(takes, recipe))
    job = Job("resnet18.bench", one, spec, 0, ("set",), recipe, train, validation, "")
    found = benchmark.pedantic(  # type: ignore[attr-defined]
        lambda: fit(job, Body(), Fabric(accelerator="cpu"), tmp_path / "c.pt", workers=2), rounds=1
    )
    benchmark.extra_info["share of the time waiting for images"] = round(found.waited, 4)  # type: ignore[attr-defined]
    assert found.waited < MOST

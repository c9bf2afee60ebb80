"""From a suite's references to models that are asked about artifacts. Refuses what does not fit before it computes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from harness.data.sample import Dataset
from harness.errors import CardError, EndpointBadAnswer, SuiteError, problem
from harness.events import Events
from harness.fingerprints.artifact import Artifact
from harness.fingerprints.fitting import Embedder, check_embedder, fit_reference
from harness.fingerprints.pixels import real_samples
from harness.fingerprints.reference import Reference
from harness.fingerprints.representation import Make, Representation
from harness.fingerprints.representations import parse_representation
from harness.fingerprints.represented import Remembering, RepresentedBackend
from harness.fingerprints.spaces import Features, Images
from harness.images.preprocess import Preprocess
from harness.models import Model, expand
from harness.spec.suite import ModelSpec, ReferenceSpec, Suite
from harness.spec.tasks import AskingTask
from harness.spec.words import Split

Fitted = Mapping[tuple[ReferenceSpec, Preprocess], Reference]


def with_embedders(suite: Suite, repository: Path) -> tuple[ModelSpec, ...]:
    """Return the suite's models, and the embedders that its references name where they are not among them."""
    embedders = {reference.embedder for reference in suite.references if reference.embedder}
    if not embedders:
        return suite.models
    known = {item.name for item in expand(suite.models, repository, tasks=suite.asks)}
    return (*suite.models, *(ModelSpec(name=name) for name in sorted(embedders - known)))


def represent(
    suite: Suite, models: Mapping[str, Model], datasets: Mapping[str, Dataset], folder: Path, events: Events
) -> tuple[Mapping[str, Model], tuple[Reference, ...]]:
    """Bind the representations that the models' cards name; references that are not on disk are fitted.

    Args:
        suite: the suite.
        models: opened models by name, embedders among them.
        datasets: opened data sets by name.
        folder: of fitted references.
        events: receives progress.

    Returns:
        All models, those of a representation taking images like the others; and the references.

    Raises:
        CardError: a model's reference is not among the suite's, or its embedder is another.
        SuiteError: a reference shares an image with a tested split.
    """
    kinds = {name: parse_representation(model.card.represent) for name, model in models.items() if model.card.represent}
    for name in kinds:
        if (said := models[name].card.preprocess) != said.pixels:
            expected = "a card that takes uint8 pixels, NHWC"
            raise CardError(problem(f"model {name}", expected, repr(said), "Export it again"))
    wanted = {name: kind for name, kind in kinds.items() if isinstance(kind, Artifact)}
    _check(suite, {name: (models[name], kind) for name, kind in wanted.items()}, models, datasets)
    fitted: dict[tuple[ReferenceSpec, Preprocess], Reference] = {}
    for name, kind in wanted.items():
        pixels = models[name].card.preprocess.pixels
        for spec in _candidates(suite, kind):
            if (spec, pixels) not in fitted:
                sample = suite.data[spec.data].resolved().sample
                embedder = _embedder(spec, models)
                fitted[spec, pixels] = fit_reference(
                    spec, datasets[spec.data], pixels, folder, embedder, events, sample
                )
    for idle in set(suite.references) - {spec for spec, _ in fitted}:
        events.note(f"{idle.name}: no model of the suite takes artifacts of it")
    return {**models, **dict(_bound(kinds, models, fitted))}, tuple(fitted.values())


def embedder_of(model: Model) -> Embedder:
    """Return a model of task ``embedding`` as an embedder; its answers are held against its card."""
    card = model.card

    def ask(images: Images) -> Features:
        found = model.backend.infer({card.input: images}).get(card.output)
        if found is None or found.shape != (len(images), card.outputs):
            wanted, got = f"shape {(len(images), card.outputs)}", "none" if found is None else str(found.shape)
            raise EndpointBadAnswer(problem(f"{model.name}: output {card.output}", wanted, got, "Check its card"))
        return np.asarray(found, np.float32)

    return Embedder(model.name, model.info.weights_sha256, card.preprocess, model.backend.options.batch, ask)


def _candidates(suite: Suite, kind: Artifact) -> list[ReferenceSpec]:
    return [spec for spec in suite.references if (spec.space, spec.embedder) == (kind.space, kind.embedder)]


def _embedder(spec: ReferenceSpec, models: Mapping[str, Model]) -> Embedder | None:
    if spec.embedder is None:
        return None
    model = models[spec.embedder]
    if model.card.task != "embedding":
        raise CardError(problem(f"{spec.name}", "an embedder", f"a model of task {model.card.task}", "Name another"))
    return embedder_of(model)


def _check(
    suite: Suite,
    wanted: Mapping[str, tuple[Model, Artifact]],
    models: Mapping[str, Model],
    datasets: Mapping[str, Dataset],
) -> None:
    """Refuse, before anything is computed, what can't fit."""
    for name, (model, kind) in wanted.items():
        specs = _candidates(suite, kind)
        if not specs:
            has = ", ".join(spec.name for spec in suite.references) or "none"
            raise CardError(problem(f"model {name}", f"a reference for {kind.id}", has, "Name one under references"))
        for spec in specs:
            embedder = _embedder(spec, models)
            check_embedder(spec, model.card.preprocess, embedder)
            trained = model.card.training.get("reference_embedder_sha256")
            if embedder and trained and trained != embedder.weights_sha256:
                expected = f"artifacts by {embedder.name} of weights {str(trained)[:12]}"
                got = f"an embedder of weights {embedder.weights_sha256[:12]}"
                raise CardError(problem(f"model {name}", expected, got, "Use that embedder, or train the model again"))
    for name, split in sorted({(spec.data, spec.split) for spec in suite.references}):
        _check_disjoint(suite, name, split, datasets)


def _check_disjoint(suite: Suite, name: str, split: Split, datasets: Mapping[str, Dataset]) -> None:
    """Raise SuiteError where a file of a reference is tested, or calibrated on."""
    sample = suite.data[name].resolved().sample
    known = {item.sha256 for item in real_samples(datasets[name], split, sample.per_subset, sample.seed)}
    for task in suite.tasks:
        if not isinstance(task, AskingTask):
            continue
        data = datasets[task.data]
        asked = {task.split, getattr(task, "calibration", None)}
        for info in (info for info in data.subsets() if info.split in asked):
            for tested in data.samples(info.subset, info.split):
                if tested.sha256 in known:
                    got = f"{tested.path} of {task.data}/{info.split} in both"
                    what = f"task {task.name}, references of {name}/{split}"
                    raise SuiteError(problem(what, "no tested image in the reference", got, "Name another split"))


def _bound(
    kinds: Mapping[str, Representation], models: Mapping[str, Model], fitted: Fitted
) -> Iterator[tuple[str, Model]]:
    """Yield models behind their representations; those of the same artifacts share what makes them."""
    made: dict[tuple[str, str], Make] = {}
    for name, kind in kinds.items():
        model = models[name]
        key = (kind.id, model.card.reference)
        if key not in made:
            mine = [_reference(model, kind, fitted)] if isinstance(kind, Artifact) else []
            embedder = kind.embedder if isinstance(kind, Artifact) else None
            made[key] = Remembering(kind.bind(mine, embedder_of(models[embedder]) if embedder else None))
        yield name, replace(model, backend=RepresentedBackend(model.backend, model.card.input, made[key]))


def _reference(model: Model, kind: Artifact, fitted: Fitted) -> Reference:
    """Return the reference that the card names. Raises CardError where it is not among the suite's."""
    mine = [found for found in fitted.values() if kind.fits(found)]
    for found in mine:
        if found.identity == model.card.reference:
            return found
    facts = [f"{key} {value}" for key, value in model.card.training.items() if key.startswith("reference_")]
    expected = f"reference {model.card.reference[:12] or 'of its own'} for {'; '.join([kind.id, *facts])}"
    do = "Name the data, the embedder and the index that it was trained with, or train it again"
    got = "; ".join(item.described for item in mine)
    raise CardError(problem(f"model {model.name}", expected, got, do))

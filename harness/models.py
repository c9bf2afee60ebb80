"""From a suite's models to opened ones: wildcards, cards and backends. Never infers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.backends import open_backend
from harness.backends.base import Backend, ModelInfo
from harness.backends.fleet import Addresses, model_of
from harness.card import DERIVED, Card
from harness.errors import CardError, problem
from harness.repository import find_entries
from harness.spec.suite import ModelSpec, ThirdParty

if TYPE_CHECKING:
    from harness.serving import TritonServer

HERE, SERVED = ("onnx", "scripted"), "grpc:served"
"""Schemes that answer in this process; what they answer depends on their weights alone, not on their address; and
the transport of what the run itself serves."""


VARIANT = "@"
"""Stands between a model's name and its variant's."""


@dataclass(frozen=True)
class Model:
    """One model of a suite, ready to answer.

    Attributes:
        name: its name in the suite and in every figure.
        card: what it is.
        info: what its endpoint said.
        backend: where its answers come from.
        transport: what the cell's hash says of the backend: scheme, and address unless the run itself served it; of a
            fleet no address, so that answers count whichever of its members gave them.
        folder: its entry of the suite's repository; None of an endpoint that the suite names.
        server: that answers for it, where the run started it.
    """

    name: str
    card: Card
    info: ModelInfo
    backend: Backend
    transport: str
    folder: Path | None = None
    server: TritonServer | None = None

    @property
    def local(self) -> bool:
        """Whether it computes in this process, so that it shares the cores with decoding."""
        return self.transport == "onnx"


@dataclass(frozen=True)
class Wanted:
    """A model named by the suite, with the address it will be asked at.

    Attributes:
        name: of the model, or of its variant: ``NAME@VARIANT``.
        spec: what the suite says, with the variant's options laid over the model's.
        endpoint: its address; empty where it has to be served and nothing serves it yet.
        transport, folder: as in :class:`Model`.
    """

    name: str
    spec: ModelSpec
    endpoint: Addresses
    transport: str
    folder: Path | None = None


def expand(
    specs: Sequence[ModelSpec],
    repository: Path,
    served: Callable[[str], str] | None = None,
    everything: bool = False,
    tasks: Collection[str] | None = None,
) -> list[Wanted]:
    """Resolve wildcards, default endpoints and variants.

    Args:
        specs: the suite's models.
        repository: model repository that names without an endpoint are found in.
        served: address of a repository model on the server that the run started; None while there is none.
        everything: whether all of the repository's models are asked there, and not only served variants.
        tasks: of the cards that wildcards mean; None: any. A model that is named in full is meant in any case.

    Raises:
        CardError: a name that is not in the repository, or the same name twice.
    """
    wanted: dict[str, Wanted] = {}
    for spec in specs:
        for item in _addresses(spec, repository, served, everything, tasks):
            if item.name in wanted:
                raise CardError(
                    problem(
                        f"model {item.name}", "each model once", "it twice", "Remove one or rename its endpoint's entry"
                    )
                )
            wanted[item.name] = item
    return list(wanted.values())


def _addresses(
    spec: ModelSpec,
    repository: Path,
    served: Callable[[str], str] | None,
    everything: bool,
    tasks: Collection[str] | None,
) -> Iterator[Wanted]:
    if spec.endpoint is not None:
        for name, asked, _ in _variants(spec.name, spec):
            yield Wanted(name, asked, spec.endpoint, _transport(spec.endpoint))
        return
    suffix = spec.name.rpartition(".")[2]
    found = [item for item in find_entries(repository, spec.name) if item.card.task not in {*DERIVED} - {suffix}]
    meant = [item for item in found if tasks is None or item.name == spec.name or item.card.task in {*tasks, *DERIVED}]
    if found and not meant:
        got = ", ".join(sorted({item.card.task for item in found}))
        what, do = f"models {spec.name}", "Name others, or ask them another task"
        raise CardError(problem(what, f"some of task {' or '.join(sorted(tasks or ()))}", got, do))
    for entry in meant:
        for name, asked, elsewhere in _variants(entry.name, spec):
            if everything or elsewhere:
                yield Wanted(name, asked, served(entry.name) if served else "", SERVED, entry.folder)
            else:
                yield Wanted(name, asked, f"onnx:{entry.model_file}", "onnx", entry.folder)


def _transport(endpoint: Addresses) -> str:
    """Return what a hash says of an endpoint; neither how many addresses a fleet has nor which."""
    if isinstance(endpoint, str):
        scheme = endpoint.partition(":")[0]
        return scheme if scheme in HERE else endpoint
    model = model_of(endpoint[0])
    return model if model in HERE else f"fleet {model}"


def _variants(name: str, spec: ModelSpec) -> Iterator[tuple[str, ModelSpec, bool]]:
    """Yield a model and its variants: name, specification, and whether it has to be served."""
    yield name, spec, False
    for key, variant in spec.variants.items():
        changes = variant.model_dump(exclude={"served"}, exclude_none=True)
        options = spec.options.model_copy(update=changes)
        yield f"{name}{VARIANT}{key}", spec.model_copy(update={"options": options}), variant.served


@contextmanager
def open_models(wanted: Sequence[Wanted], server: TritonServer | None = None) -> Iterator[Mapping[str, Model]]:
    """Open every backend, ask it who it is, and close all of them at the end.

    Args:
        wanted: the models.
        server: the run's own, where it started one.

    Raises:
        CardError: a model that neither describes itself nor is described by the suite.
        EndpointError: an endpoint that does not answer.
    """
    with ExitStack() as stack:
        models = {}
        for item in wanted:
            backend = open_backend(item.endpoint, item.spec.options)
            stack.callback(backend.close)
            info = backend.info()
            own = server if item.transport == SERVED else None
            models[item.name] = Model(item.name, _card(item, info), info, backend, item.transport, item.folder, own)
        yield models


def _card(item: Wanted, info: ModelInfo) -> Card:
    if item.spec.card is not None:
        return _from_suite(item.name, item.spec.card)
    if info.card is None:
        raise CardError(
            problem(
                f"model {item.name} at {', '.join(item.spec.addresses) or item.endpoint}",
                "a card in its metadata",
                "none",
                "Describe it in the suite: card: {preprocess: ..., input: ..., output: ..., score: ...}",
            )
        )
    return info.card


def _from_suite(name: str, said: ThirdParty) -> Card:
    facts = {key: getattr(said, key) for key in type(said).model_fields}
    if isinstance(said.classes, int):
        facts["classes"] = tuple(map(str, range(said.classes)))
    facts["task"] = "classification" if facts["classes"] else "detection"
    facts["name"] = name.partition(VARIANT)[0]
    return Card.model_validate({"summary": "described by the suite", **facts})

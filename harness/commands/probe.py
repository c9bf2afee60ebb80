"""harness probe and eval: learn an endpoint that nobody described, and hold it against the model it should be."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from harness.errors import EndpointBadAnswer, EndpointRefused, ExitCode, HarnessError, SuiteError, problem
from harness.shipped import find_suite

if TYPE_CHECKING:
    from harness.backends.base import EndpointOptions

Url = Annotated[
    str, typer.Argument(help="grpc(s)://HOST:PORT[/MODEL], http(s)://HOST:PORT[/MODEL] or onnx:PATH.", metavar="URL")
]
Bearer = Annotated[
    str | None, typer.Option("--bearer-env", help="Environment variable that holds the bearer token.", metavar="NAME")
]
Ca = Annotated[str | None, typer.Option("--ca", help="Root certificates (PEM), for grpcs and https.", metavar="FILE")]
Certificate = Annotated[
    str | None, typer.Option("--certificate", help="Certificate of this client (PEM).", metavar="FILE")
]
Key = Annotated[str | None, typer.Option("--key", help="Its key (PEM).", metavar="FILE")]
Timeout = Annotated[float, typer.Option("--timeout", help="Seconds that one request may take.", min=0.001)]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        epilog="Examples:\n\n  harness probe grpc://127.0.0.1:8001            which models there are"
        "\n\n  harness probe grpc://127.0.0.1:8001/acme --write acme.yaml"
        "\n\n  ACME_TOKEN=... harness probe https://models.acme.org:443/acme --bearer-env ACME_TOKEN"
        "\n\n  harness probe onnx:model.onnx"
    )(probe)
    app.command(
        name="eval",
        epilog="Examples:\n\n  harness eval grpc://127.0.0.1:8001/cnnspot.mini_gan --suite suites/genimage_cross.yaml"
        "\n\n  harness eval URL --suite SUITE --reference resnet50.tv_float --flips 0.5 --margin 1 --slower 3"
        "\n\nExit codes: 0 all hold, 1 one does not, 4 the run is INVALID.",
    )(evaluate)


def probe(
    url: Url,
    write: Annotated[
        Path | None, typer.Option("--write", help="Write a suite that runs against it.", dir_okay=False)
    ] = None,
    bearer_env: Bearer = None,
    ca: Ca = None,
    certificate: Certificate = None,
    key: Key = None,
    timeout: Timeout = 30.0,
    most: Annotated[int, typer.Option("--max-batch", help="Largest batch that is tried.", min=1)] = 64,
    requests: Annotated[int, typer.Option(help="Timed requests.", min=2)] = 30,
) -> None:
    """Learn an endpoint: what it takes, what its scores are, how it behaves, and how sure that is.

    It shows photographs that ship inside scikit-image and scikit-learn, and asks a few things that should be refused.
    What neither metadata nor answers tell is said to be unknown.
    """
    from harness.backends.opening import list_models
    from harness.commands.console import out, say, showing_events
    from harness.probe import Asked
    from harness.probe import probe as learn
    from harness.probe.suite import suite_text
    from harness.report import print_report
    from harness.report.probe import probe_report
    from harness.store.files import write_atomic

    options = _options(bearer_env, ca, certificate, key, timeout)
    try:
        names = list_models(url, options)
    except (EndpointRefused, EndpointBadAnswer) as error:
        raise SuiteError(
            problem(url, "a server that lists its models", "one that does not", f"Name one: {url.rstrip('/')}/MODEL")
        ) from error
    if names is not None:
        for name in names:
            say(f"harness probe {quote(url.rstrip('/') + '/' + name)}")
        if not names:
            raise SuiteError(problem(url, "models in its repository index", "none", "Load one, or name it"))
        return
    with showing_events(interrupted="") as events:
        found = learn(Asked(url, options, most, requests), events)
    report = probe_report(found)
    print_report(report, out)
    if write is not None:
        write_atomic(write, suite_text(found).encode())
        say(f"\nSuite: {write}. Run it: harness run {write}")
    if report.verdict.startswith("INVALID"):
        raise typer.Exit(ExitCode.INVALID)


def evaluate(
    url: Url,
    suite: Annotated[Path, typer.Option("--suite", help="What to ask both.", dir_okay=False, callback=find_suite)],
    reference: Annotated[
        str | None,
        typer.Option(help="The model it should be.", show_default="of the same card or weights", metavar="NAME"),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a suite key.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="At most so many images per subset.")] = None,
    flips: Annotated[float, typer.Option(help="Per cent of the images that may be decided otherwise.", min=0)] = 0,
    margin: Annotated[float, typer.Option(help="Points that a figure may lose and still be as good.", min=0)] = 0.5,
    slower: Annotated[
        float | None, typer.Option(help="Times the reference's latency that are fast enough.", show_default="any")
    ] = None,
    bearer_env: Bearer = None,
    ca: Ca = None,
    certificate: Certificate = None,
    key: Key = None,
    timeout: Timeout = 60.0,
    out_dir: Annotated[Path, typer.Option("--out", help="Folder of runs, answers and manifests.")] = Path("reports"),
) -> None:
    """Run a suite against an endpoint beside its reference in process: same decisions? as good? as fast?

    Detection and classification tasks of the suite are asked, both models alone. An endpoint without a card is asked as
    the suite describes it where it names that address, else as the reference.
    """
    from harness.commands.console import out, say, showing_events
    from harness.evaluation import Evaluation, Limits
    from harness.evaluation import evaluate as hold
    from harness.report import print_report

    limits = Limits(flips / 100, margin / 100, slower)
    options = _options(bearer_env, ca, certificate, key, timeout)
    asked = Evaluation(url, options, suite, reference, tuple(settings or ()), out_dir, limit, limits)
    with showing_events() as events:
        found = hold(asked, events)
    print_report(found.finished.report, out)
    say(f"\nReport: {found.finished.folder / 'report.html'}")
    say(f"\n{found.endpoint} beside {found.reference}")
    for verdict in found.verdicts:
        say(f"{verdict.question:<16} {verdict.answer:<10} {verdict.evidence}")
    if found.reasons:
        raise typer.Exit(ExitCode.INVALID)
    if any(verdict.holds is False for verdict in found.verdicts):
        raise typer.Exit(ExitCode.GATE_FAILED)


def _options(
    bearer_env: str | None, ca: str | None, certificate: str | None, key: str | None, timeout: float
) -> EndpointOptions:
    from harness.backends.base import Auth, EndpointOptions, Tls

    if bool(certificate) != bool(key):
        raise HarnessError(problem("--certificate and --key", "both or neither", "one", "Give both"))
    return EndpointOptions(
        timeout_s=timeout,
        auth=Auth(bearer_env=bearer_env) if bearer_env else None,
        tls=Tls(ca=ca, certificate=certificate, key=key) if ca or certificate else None,
    )

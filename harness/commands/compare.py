"""harness compare, gate and baseline: two runs, what became worse, and whether that is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.errors import ExitCode, HarnessError, problem

if TYPE_CHECKING:
    from harness.baselines import Side
    from harness.compare import Comparison
    from harness.comparison.noise import Noise

Out = Annotated[Path, typer.Option("--out", help="Folder of runs.")]
Renamed = Annotated[
    list[str] | None,
    typer.Option("--model", metavar="A=B", help="Model A of the first run is B of the second, or of RUN."),
]
Rounds = Annotated[
    Path | None,
    typer.Option("--pytest-benchmark", metavar="FILE", help="Medians of pytest --benchmark-json FILE, as figures."),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        epilog="Examples:\n\n  harness compare 20260131T120000-mine-1a2b3c 20260201T120000-mine-1a2b3c"
        "\n\n  harness compare reports/baselines/mine RUN"
        "\n\n  harness compare RUN RUN --model resnet50.tv_float=resnet50.tv_int8"
        "\n\n  harness compare A B --aa        what two runs of the same teach of this machine's noise"
    )(compare)
    app.command(
        epilog="Examples:\n\n  harness gate RUN --baseline reports/baselines/mine"
        "\n\n  harness gate RUN --baseline DIR --expect 'accuracy: -0.5pt' --expect 'p99: +10%' --junit gate.xml"
        "\n\nExit codes: 0 passed, 1 failed, 2 an expectation that means nothing, 4 a run that is INVALID."
    )(gate)
    app.command(
        epilog="Example:\n\n  harness baseline RUN --to reports/baselines/mine"
        "\n\nOf a run with --limit, the folder is small: track it with git."
    )(baseline)


def compare(
    a: Annotated[str, typer.Argument(help="A run's id or folder, or a baseline's folder.", metavar="A")],
    b: Annotated[str, typer.Argument(help="What is held against it.", metavar="B")],
    model: Renamed = None,
    floor: Annotated[float, typer.Option(help="Smallest change of a share that counts, in points.", min=0)] = 0.5,
    latency_floor: Annotated[
        float, typer.Option(help="Smallest change of a time that counts, in per cent.", min=0)
    ] = 5,
    aa: Annotated[
        bool, typer.Option("--aa", help="A and B are the same: learn how much times differ by chance here.")
    ] = False,
    to: Annotated[Path | None, typer.Option("--to", help="Write the report here too.", file_okay=False)] = None,
    out_dir: Out = Path("reports"),
) -> None:
    """Compare two runs on the same images: what became better or worse, and what is no more than chance."""
    from harness.baselines import open_side
    from harness.commands.console import out, say
    from harness.compare import compare_alike
    from harness.comparison.change import Floors
    from harness.comparison.noise import read_noise, write_noise
    from harness.report import print_report, write_report
    from harness.report.comparison import comparison_report

    before, after = open_side(a, out_dir), open_side(b, out_dir)
    for side in (before, after):
        side.check_finished()
    noise = read_noise(out_dir, after.info.environment)
    if aa:
        noise = noise.taught(compare_alike(before, after))
        say(f"Noise of this machine: {write_noise(out_dir, after.info.environment, noise)}")
    found = _compared(before, after, model, noise)
    report = comparison_report(found, Floors(floor / 100, latency_floor / 100))
    print_report(report, out)
    if to is not None:
        write_report(report, to)
        say(f"\nReport: {to / 'report.html'}")


def gate(
    run: Annotated[str, typer.Argument(help="A run's id or folder.", metavar="RUN")],
    baseline: Annotated[str, typer.Option("--baseline", help="A baseline's folder, or another run.", metavar="DIR")],
    expect: Annotated[
        list[str] | None,
        typer.Option("--expect", metavar="'FIGURE: BOUND'", help="Beside or over the suite's own `gate`."),
    ] = None,
    model: Renamed = None,
    allow_missing: Annotated[
        bool,
        typer.Option(
            "--allow-missing", help="Pass though tasks, models, cells or benchmarks of the baseline are not in RUN."
        ),
    ] = False,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML.", metavar="FILE")] = None,
    summary: Annotated[
        Path | None,
        typer.Option(help="Append Markdown.", metavar="FILE", envvar="GITHUB_STEP_SUMMARY"),
    ] = None,
    benchmark: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write github-action-benchmark's FILE.bigger.json and FILE.smaller.json."),
    ] = None,
    pytest_benchmark: Rounds = None,
    to_pytest_benchmark: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the run's times as pytest-benchmark does.")
    ] = None,
    out_dir: Out = Path("reports"),
) -> None:
    """Fail where a run is worse than its baseline by more than is allowed, and by more than chance."""
    from harness.baselines import open_side
    from harness.commands.console import say
    from harness.comparison.noise import read_noise
    from harness.environment import revision
    from harness.gate import judge, passed
    from harness.pytest_benchmarks import (
        KEPT,
        benchmark_changes,
        dump_benchmarks,
        missing_benchmarks,
        read_benchmarks,
    )
    from harness.report.comparison import gate_report
    from harness.report.continuous import benchmarks
    from harness.report.continuous import junit as junit_xml
    from harness.report.markdown import markdown
    from harness.spec.gate import parse_gate
    from harness.store.files import write_atomic

    after, before = open_side(run, out_dir), open_side(baseline, out_dir)
    expected = parse_gate(after.info.spec.get("gate", {}), expect or ())
    if not expected:
        do = "Give some: --expect 'accuracy: -0.5pt', or `gate: {accuracy: -0.5pt}` in the suite"
        raise HarnessError(problem(f"gate of {after.info.id}", "expectations", "none", do))
    for side in (after, before):
        side.check_valid()
    noise = read_noise(out_dir, after.info.environment)
    found = _compared(before, after, model, noise)
    changes, missing = list(found.changes), list(found.missing)
    if pytest_benchmark is not None:
        earlier, now = read_benchmarks(Path(baseline) / KEPT), read_benchmarks(pytest_benchmark)
        changes += benchmark_changes(earlier, now, noise)
        missing += missing_benchmarks(earlier, now)
    outcomes = judge(expected, changes, () if allow_missing else missing)
    report = gate_report(outcomes, found.after, found.before, found.notes)
    if junit is not None:
        write_atomic(junit, junit_xml(outcomes, f"gate {after.info.spec['name']}").encode())
    if summary is not None:
        earlier_text = summary.read_bytes() if summary.is_file() else b""
        write_atomic(summary, earlier_text + markdown(report).encode())
    if benchmark is not None:
        for end, text in benchmarks(changes).items():
            write_atomic(benchmark.with_name(f"{benchmark.name}.{end}.json"), text.encode())
    if to_pytest_benchmark is not None:
        write_atomic(to_pytest_benchmark, dump_benchmarks(after, revision()).encode())
    for note in found.notes:
        say(f"! {note}")
    for outcome in outcomes:
        if outcome.judged != "passed":
            say(f"{outcome.judged.upper()}  {outcome.place}  {outcome.expected}  ({outcome.why})")
    say(report.verdict)
    if not passed(outcomes):
        raise typer.Exit(ExitCode.GATE_FAILED)


def baseline(
    run: Annotated[str, typer.Argument(help="A finished run's id or folder.", metavar="RUN")],
    to: Annotated[Path, typer.Option("--to", help="Folder to write; an earlier baseline there is replaced.")],
    pytest_benchmark: Rounds = None,
    out_dir: Out = Path("reports"),
) -> None:
    """Keep a run and its records in a folder of their own, to be tracked and gated against."""
    from harness.baselines import open_side, write_baseline
    from harness.commands.console import say
    from harness.pytest_benchmarks import KEPT, read_benchmarks
    from harness.store.files import write_atomic

    if pytest_benchmark is not None:
        read_benchmarks(pytest_benchmark)
    side = open_side(run, out_dir)
    size = write_baseline(side, to)
    if pytest_benchmark is not None:
        write_atomic(to / KEPT, pytest_benchmark.read_bytes())
    say(f"{to}: {len(side.info.cells):,} cells, {size / 1000:,.0f} kB of records")


def _compared(before: Side, after: Side, model: Sequence[str] | None, noise: Noise) -> Comparison:
    from harness.commands.console import open_events
    from harness.compare import compare as compare_runs

    try:
        return compare_runs(before, after, open_events(), read_renamed(model or ()), noise)
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def read_renamed(pairs: Sequence[str]) -> dict[str, str]:
    """Return first names by second ones.

    Raises:
        HarnessError: one that is not ``A=B``, or two of one name.
    """
    read = [pair.partition("=") for pair in pairs]
    found = {second.strip(): first.strip() for first, _, second in read}
    if len(found) < len(pairs) or not all(first and second for second, first in found.items()):
        raise HarnessError(problem("--model", "A=B, each B once", " ".join(pairs), "Write e.g. --model a.float=a.int8"))
    return found

"""What a run ran on: machine, processor flags that change int8 results, versions. Never a name, address or secret."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

from harness import __version__

PACKAGES = (
    "numpy",
    "onnxruntime-gpu",
    "onnxruntime",
    "tritonclient",
    "pillow",
    "opencv-python-headless",
    "pandas",
    "pyarrow",
)

FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8")


def fingerprint() -> dict[str, str]:
    """Return facts that the figures or the speed depend on."""
    facts = {
        "discern": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": (processor := _processor()),
        "int8 sums": int8_sums(processor),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "byte order": sys.byteorder,
    }
    for package in PACKAGES:
        try:
            facts[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return facts


@cache
def source_digest(part: str = "") -> str:
    """Return the SHA-256 over the harness's own code, or one package's: the same code draws the same conclusions."""
    digest = hashlib.sha256()
    root = Path(__file__).parent / part
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def revision() -> str:
    """Return the git revision of the code, ``+`` behind it where files differ; ``unknown`` outside a checkout."""
    git = ["git", "-C", str(Path(__file__).parents[1])]
    try:
        head, changed = (
            subprocess.run([*git, *words], capture_output=True, text=True, check=True, timeout=10).stdout.strip()
            for words in (("rev-parse", "--short=12", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return head + ("+" if changed else "")


def int8_sums(processor: str) -> str:
    """Return how products of int8 are added on a processor, given its name and flags."""
    flags = processor.split()
    if any("vnni" in flag or "amx" in flag for flag in flags):
        return "32 bits (VNNI)"
    if "avx2" in flags:
        return "16 bits, which saturate (no VNNI): quantize with reduce_range"
    return "unknown"


def _processor() -> str:
    """Return the processor's name and the flags that matter, where the system tells them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    said = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = [flag for flag in FLAGS if flag in said.get("flags", "").split()]
    return " ".join([said.get("model name", "unknown"), *flags])

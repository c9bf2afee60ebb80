"""Tests that take minutes run only where they are asked for."""

import os

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Skip what nobody has asked for."""
    if os.environ.get("DISCERN_SOAK") != "1":
        pytest.skip("DISCERN_SOAK=1 is not set")

"""discern's harness: runs suites against served image models and reports what it can defend."""

__version__ = "0.1.0"

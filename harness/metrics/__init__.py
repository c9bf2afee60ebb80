"""Pure functions from scores to figures."""

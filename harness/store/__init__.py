"""Records on disk; the only code that knows the layout of a run."""

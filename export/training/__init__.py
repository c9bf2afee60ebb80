"""Training of generators, residual filters and fingerprints."""

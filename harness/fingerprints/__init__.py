"""Fingerprints of generators: manifold artifacts against real images, and banks of DIF patterns."""

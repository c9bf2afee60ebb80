"""Disagreement searchers, one file each, behind one contract; the runner that batches them; the 8-bit verifier."""

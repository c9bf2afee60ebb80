"""Answers cells on many machines: shards of them as tasks of a Ray cluster. Plans nothing and computes no figure."""

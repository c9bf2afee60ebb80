"""Starts a real Triton on this machine."""

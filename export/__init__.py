"""Weights to ONNX to model repository entries; the only package that imports torch."""

"""Pixels: decode, preprocess, degrade. uint8 HWC RGB numpy in and out."""

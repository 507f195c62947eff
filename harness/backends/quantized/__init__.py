"""Layers whose weights stay quantized while a model runs."""

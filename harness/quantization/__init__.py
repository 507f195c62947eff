"""Quantized variants of a model: making them, and measuring how far they fall behind."""

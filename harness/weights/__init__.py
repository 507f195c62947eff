"""Weights: where they come from, adapters, rounding, and the sizes of models."""

"""Shapes of models: what a configuration alone says of a model's size, and random weights for it."""

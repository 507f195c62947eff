"""Backends: what runs the models of a pool."""

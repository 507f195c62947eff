"""Benchmarks in lm-eval's format that lm-eval does not have."""

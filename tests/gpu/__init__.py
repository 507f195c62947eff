"""Checks and timings of backend ``transformers`` on a CUDA machine: ``python -m tests.gpu --out runs/gpu``."""

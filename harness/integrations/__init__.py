"""Adapters to other evaluation tools: lm-eval and inspect_ai."""

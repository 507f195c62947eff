"""Traces: episodes on disk, what they cost, and what was trained on the instances that they report."""

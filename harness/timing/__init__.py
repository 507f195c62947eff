"""Seconds of finished runs that can be compared: their recorded calls are replayed, interleaved (docs/cost.md)."""

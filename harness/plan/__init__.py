"""Forecast of what a suite will cost, and its comparison with what the suite then cost (docs/cost.md, Plans)."""

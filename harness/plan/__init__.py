"""What a suite will take, before it is run, and what it then took (docs/cost.md, Plans)."""

"""A campaign of faults: work is killed at random moments, or may not write, and goes on as if nothing had happened."""

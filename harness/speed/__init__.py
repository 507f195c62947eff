"""How fast a pool's models are on a machine: measured once (``mixroute calibrate``), then charged (docs/cost.md)."""

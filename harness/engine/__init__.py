"""Playing a suite: runs, rollouts, steps, and the supervision of routers."""

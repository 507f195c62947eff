"""``mixroute doctor``: what fits this machine, and why the rest does not."""

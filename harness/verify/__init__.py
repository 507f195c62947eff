"""``mixroute verify``: checks of published entries that need no model."""

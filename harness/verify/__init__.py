"""``mixroute verify``: an entry is believed as far as it can be checked without any model."""

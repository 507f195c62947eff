"""``mixroute challenge``: a published row against games that were drawn after it was submitted."""

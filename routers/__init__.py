"""Router strategies: one file a router or family."""

"""Routers, one file for each router or family."""

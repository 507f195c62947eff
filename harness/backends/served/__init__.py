"""Backends that leave the computing to an engine of somebody else, in this process or behind HTTP."""

"""Backends whose model an external engine runs, in this process or behind HTTP."""

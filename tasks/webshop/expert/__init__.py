"""The handcoded expert."""

from tasks.webshop.expert.policy import Expert

__all__ = ["Expert"]

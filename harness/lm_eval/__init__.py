"""Routers inside lm-evaluation-harness. Importing this registers the model ``mixroute``."""

from harness.lm_eval.model import MixrouteLM

__all__ = ["MixrouteLM"]

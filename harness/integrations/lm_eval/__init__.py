"""Routers inside lm-evaluation-harness. Importing this registers the model ``mixroute``."""

from harness.integrations.lm_eval.model import MixrouteLM

__all__ = ["MixrouteLM"]

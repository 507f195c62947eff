"""The handcoded expert, and its knowledge of a game."""

from tasks.alfworld.expert.policy import Expert
from tasks.alfworld.expert.priors import Priors, stored

__all__ = ["Expert", "Priors", "stored"]

"""A handcoded player, and what it knows of a game."""

from tasks.alfworld.expert.policy import Expert
from tasks.alfworld.expert.priors import Priors, stored

__all__ = ["Expert", "Priors", "stored"]

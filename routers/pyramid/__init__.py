"""Pyramid MoA (arXiv 2602.19509): several small models answer, and a light router decides whether an oracle is asked.

No code of the paper was used. What is the paper's: the ensemble, a decision on its agreement and calibrated confidence,
the oracle at or above a threshold, anchoring. What the paper leaves open and is ours is said where it stands, and in
docs/pyramid.md.
"""

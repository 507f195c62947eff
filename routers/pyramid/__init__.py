"""Pyramid MoA (arXiv 2602.19509): several small models answer, and a light router decides whether an oracle is asked.

No code of the paper was used. From the paper: the ensemble, a decision on its agreement and calibrated confidence,
the oracle at or above a threshold, anchoring. Choices of ours, where the paper is silent, are marked
"ours" and listed in docs/pyramid.md.
"""

"""Dynamic Mixed-Precision Routing (arXiv 2602.02711): a small network over the trajectory picks each step's precision.

No code of the paper is public. What is the paper's: the decision before each action, an encoder over the trajectory,
stage one on labels of the divergence between both precisions (KL-SFT), stage two by GRPO on success minus the cost of
high steps. What the paper leaves open and is ours is said where it stands, and in docs/dmr.md.
"""

"""Dynamic Mixed-Precision Routing (arXiv 2602.02711): a small network over the trajectory picks each step's precision.

No code of the paper is public. From the paper: the decision before each action, an encoder over the trajectory,
stage one on labels of the divergence between both precisions (KL-SFT), stage two by GRPO on success minus the cost of
high steps. Choices of ours, where the paper is silent, are marked "ours" and listed in
docs/dmr.md.
"""

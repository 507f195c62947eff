"""RelayLLM (arXiv 2601.05167): a small model writes, and calls a large one for as many tokens as it wants.

No code of the paper was used. From the paper: the command, both models' views of the text, warm-up, the reward by
difficulty, at most five calls. Choices of ours, where the paper is silent, are marked "ours" and listed in
docs/relay.md.
"""

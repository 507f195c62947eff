"""RelayLLM (arXiv 2601.05167): a small model writes, and calls a large one for as many tokens as it wants.

No code of the paper was used. What is the paper's: the command, both models' views of the text, warm-up, the reward by
difficulty, at most five calls. What the paper leaves open and is ours is said where it stands, and in docs/relay.md.
"""

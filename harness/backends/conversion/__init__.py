"""What transformers gets wrong when it reads a GGUF file."""

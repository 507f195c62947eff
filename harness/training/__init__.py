"""Training of agents on what a task's expert does."""

"""Reasoning tasks: a question, one step of free text, a graded answer."""

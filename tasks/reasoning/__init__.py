"""Reasoning tasks: a question, one step of free text, a graded answer."""

from tasks.reasoning.task import ReasoningTask

__all__ = ["ReasoningTask"]

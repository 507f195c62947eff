"""ALFWorld: household tasks in text, in the original engine or in our own, which equals it to the character."""

from tasks.alfworld.task import AlfworldGenTask, AlfworldTask

__all__ = ["AlfworldGenTask", "AlfworldTask"]

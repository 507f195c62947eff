"""ALFWorld: household tasks in text, in an own engine that equals the original to the character, or in the original."""

from tasks.alfworld.task import AlfworldGenTask, AlfworldTask

__all__ = ["AlfworldGenTask", "AlfworldTask"]

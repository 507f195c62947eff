"""The command ``mixroute``, also as ``python -m mixroute``."""

from harness.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()

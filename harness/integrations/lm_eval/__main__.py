"""lm-eval's command line with the model ``mixroute``, since lm-eval finds no models by entry points.

Usage: ``python -m harness.integrations.lm_eval --model mixroute …``.
"""

import sys

from harness.errors import MixrouteError

if __name__ == "__main__":
    try:
        from lm_eval.__main__ import cli_evaluate

        import harness.integrations.lm_eval  # noqa: F401 - registers the model
    except ImportError as error:
        sys.exit(f"error: this needs lm-eval: pip install 'mixroute[reasoning]' ({error})")
    try:
        cli_evaluate()
    except MixrouteError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)

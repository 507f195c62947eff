"""``python -m harness.lm_eval --model mixroute …``: lm-eval's command line, which finds no models by entry points."""

import sys

from harness.errors import MixrouteError

if __name__ == "__main__":
    try:
        from lm_eval.__main__ import cli_evaluate

        import harness.lm_eval  # noqa: F401 - registers the model
    except ImportError as error:
        sys.exit(f"error: this needs lm-eval: pip install 'mixroute[reasoning]' ({error})")
    try:
        cli_evaluate()
    except MixrouteError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)

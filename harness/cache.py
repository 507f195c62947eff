"""Where downloads and converted weights are kept: ``$MIXROUTE_CACHE``, or the platform's cache folder."""

import os
from pathlib import Path

from platformdirs import user_cache_path


def cache_folder(*parts: str) -> Path:
    """A folder below the cache root; it may not exist yet."""
    root = os.environ.get("MIXROUTE_CACHE")
    return (Path(root) if root else user_cache_path("mixroute")).joinpath(*parts)

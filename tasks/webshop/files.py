"""Location of WebShop's three files, small or full, plain or ``.xz``."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from harness.files import cache_folder
from mixroute import MixrouteError

FIX = (
    "put items_shuffle.json, items_ins_v2.json and items_human_ins.json of the WebShop release (or its small files, "
    "such as items_shuffle_1000.json) there, plain or .xz, or point data= or $WEBSHOP_DATA at a folder that has them"
)


@dataclass(frozen=True, slots=True)
class DataFiles:
    """The files of one data set."""

    products: Path
    attributes: Path
    humans: Path | None
    """Instructions written by people; None where the folder has none."""

    @property
    def large(self) -> bool:
        """Whether there are too many products to read them at each start."""
        limit = 2**23 if self.products.suffix == ".xz" else 2**26
        return self.products.stat().st_size > limit

    @property
    def key(self) -> str:
        """Identity of the files, from paths, sizes and times, since hashing 5 GB would take many seconds."""
        digest = hashlib.sha256()
        for path in (self.products, self.attributes, self.humans):
            if path:
                state = path.stat()
                digest.update(f"{path.resolve()} {state.st_size} {state.st_mtime_ns}\n".encode())
        return digest.hexdigest()[:32]


def data_folder(data: str | Path | None) -> Path:
    """The folder to read from: ``data``, else ``$WEBSHOP_DATA``, else the cache folder of mixroute."""
    chosen = data or os.environ.get("WEBSHOP_DATA")
    return Path(chosen).expanduser() if chosen else cache_folder("webshop")


def find_files(folder: Path) -> DataFiles:
    """The data files in ``folder``; where a full and a small one lie side by side, the full one.

    Raises:
        MixrouteError: the folder or a file is missing, or two small sets lie side by side.
    """
    if not folder.is_dir():
        raise MixrouteError(f"the WebShop data folder {folder} does not exist: {FIX}")
    products, attributes = _find(folder, "items_shuffle"), _find(folder, "items_ins_v2")
    if products is None or attributes is None:
        missing = "items_shuffle.json" if products is None else "items_ins_v2.json"
        raise MixrouteError(f"{folder} holds no {missing}: {FIX}")
    return DataFiles(products, attributes, _find(folder, "items_human_ins"))


def _find(folder: Path, stem: str) -> Path | None:
    for name in (f"{stem}.json", f"{stem}.json.xz"):
        if (folder / name).is_file():
            return folder / name
    small = sorted(path for path in folder.glob(f"{stem}_*.json*") if path.name.endswith((".json", ".json.xz")))
    if len({path.name.removesuffix(".xz") for path in small}) > 1:
        names = ", ".join(path.name for path in small)
        raise MixrouteError(f"{folder} holds {names}: leave one of them there")
    return small[0] if small else None

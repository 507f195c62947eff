"""The shop's catalogue: products, their search and the goals made from them."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import overload
from weakref import WeakValueDictionary

import numpy as np

from mixroute import MixrouteError
from tasks.webshop import bm25, ingest
from tasks.webshop.analysis import terms
from tasks.webshop.files import data_folder, find_files
from tasks.webshop.goal import Goal, human_goal, synthetic_goal
from tasks.webshop.ingest import Source
from tasks.webshop.product import Product
from tasks.webshop.released import Released
from tasks.webshop.store import Store

RESULTS = 50
"""Most products that a search of the shop finds."""

_KEPT_POSTINGS = 16_000_000
"""Entries of the search index that stay in memory: 128 MB. Small catalogues fit completely."""

_KEPT_PRODUCTS = 4096

Contribution = tuple[bm25.Integers, bm25.Floats]


class Catalogue:
    """Products and search. Nothing in it changes, so that one serves all environments of a process, on any thread.

    Args:
        store: A finished database.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._asins = store.array("asins", "S10")
        self._ranks = store.array("ranks", np.int32)
        lengths = store.array("lengths", np.int32)
        self._inverse = bm25.saturation(lengths, int(store.meta["terms"]) / max(len(self), 1))
        self._known: OrderedDict[tuple[str, int], Contribution | None] = OrderedDict()
        self._entries = 0
        self._lock = threading.Lock()
        self._product = lru_cache(_KEPT_PRODUCTS)(store.product)
        self._number = lru_cache(_KEPT_PRODUCTS)(store.number)

    def __len__(self) -> int:
        return len(self._asins)

    def __contains__(self, asin: str) -> bool:
        return self._number(asin) is not None

    def __iter__(self) -> Iterator[Product]:
        """The products, in the data's order."""
        return (self._product(number) for number in range(len(self)))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the products' content in order, independent of how the files are packed."""
        return self._store.meta["digest"]

    @property
    def on_disk(self) -> bool:
        """Whether products and index are read from a file as they are needed, which may take milliseconds."""
        return self._store.on_disk

    def product(self, asin: str) -> Product:
        """The product with this identifier.

        Raises:
            MixrouteError: there is none.
        """
        number = self._number(asin)
        if number is None:
            raise MixrouteError(f"the catalogue of {len(self)} products has no {asin}: is the goal from another one?")
        return self._product(number)

    def search(self, query: str, k: int = RESULTS) -> list[str]:
        """ASINs of the products that match ``query`` best.

        BM25 as Lucene computes it, over title, description, first bullet and options; ties in the order of ASINs.

        Args:
            query: Any text.
            k: Most products to give; fewer where fewer have any of the words.
        """
        scores = np.zeros(len(self), np.float32)
        for term, count in Counter(terms(query)).items():
            found = self._contribution(term, count)
            if found is not None:
                scores[found[0]] += found[1]
        return [asin.decode() for asin in self._asins[bm25.best(scores, self._ranks, k)].tolist()]

    def goals(self, kind: str = "synthetic", seed: int = 0) -> Goals:
        """The goals in the original's order.

        Args:
            kind: ``synthetic`` or ``human``.
            seed: For prices and price bounds; see ``tasks.webshop.goal``.
        """
        return Goals(self._store, self._product, kind, seed)

    def _contribution(self, term: str, count: int) -> Contribution | None:
        """Documents with a term, and what it adds to their scores if the query has it ``count`` times."""
        key = (term, count)
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        found = self._store.postings(term)
        result = None
        if found is not None:
            documents, counts = found
            weight = bm25.idf(len(self), len(documents)) * np.float32(count)
            result = documents, bm25.contribution(weight, counts, self._inverse[documents])
        with self._lock:
            self._known[key] = result
            self._entries += 0 if result is None else len(result[0])
            while self._entries > _KEPT_POSTINGS or len(self._known) > _KEPT_POSTINGS // 10:
                _, dropped = self._known.popitem(last=False)
                self._entries -= 0 if dropped is None else len(dropped[0])
        return result


class Goals(Sequence[Goal]):
    """The goals of a catalogue by index, made when asked for: a full catalogue has millions."""

    def __init__(self, store: Store, product: Callable[[int], Product], kind: str, seed: int) -> None:
        if kind not in ("synthetic", "human"):
            raise MixrouteError(f"WebShop has no goals '{kind}': use synthetic or human")
        self._store, self._product = store, product
        self.kind, self.seed = kind, seed
        self._ends = store.array(f"{kind}_ends", np.int64)
        self._order = store.array(f"{kind}_order", np.int64)

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, index: int) -> Goal: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Goal]: ...
    def __getitem__(self, index: int | slice) -> Goal | Sequence[Goal]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        place = int(self._order[index])
        number = int(np.searchsorted(self._ends, place, side="right"))
        within = place - (int(self._ends[number - 1]) if number else 0)
        product = self._product(number)
        if self.kind == "human":
            return human_goal(product, self._store.human(number, within), within, self.seed)
        return synthetic_goal(product, within, self.seed)


_loaded: WeakValueDictionary[str, Catalogue] = WeakValueDictionary()
_loading = threading.Lock()


def load_catalogue(folder: str | Path | None = None, *, on_disk: bool | None = None) -> Catalogue:
    """The catalogue of a data folder; each is loaded once by a process.

    Args:
        folder: Has ``items_shuffle.json``, ``items_ins_v2.json`` and ``items_human_ins.json``, small or full, plain or
            ``.xz``. Default: ``$WEBSHOP_DATA``, else the cache folder.
        on_disk: Whether to keep the catalogue in a database in the cache folder, which is built once. Default: for
            products of more than 64 MB (8 MB as ``.xz``).

    Raises:
        MixrouteError: a file is missing or damaged.
    """
    return open_catalogue(Released(find_files(data_folder(folder))), on_disk=on_disk)


def open_catalogue(source: Source, *, on_disk: bool | None = None) -> Catalogue:
    """The catalogue of a source of products; see ``load_catalogue``."""
    stored = source.large if on_disk is None else on_disk
    key = f"{source.key} {stored}"
    with _loading:
        catalogue = _loaded.get(key)
        if catalogue is None:
            catalogue = Catalogue(ingest.on_disk(source) if stored else ingest.in_memory(source))
            _loaded[key] = catalogue
        return catalogue

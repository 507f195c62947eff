"""Made-up products in the schema of the released ones: families that differ in one attribute, one option or the price.

The catalogue of a split, number and size is always the same, on every machine: ``random.Random`` is seeded with text.
"""

from tasks.webshop.generate.families import VERSION
from tasks.webshop.generate.source import GOALS, PRODUCTS, Generated, goals_of, write_files
from tasks.webshop.generate.taxonomy import queries

__all__ = ["GOALS", "PRODUCTS", "VERSION", "Generated", "goals_of", "queries", "write_files"]

"""WebShop: shopping by search and clicks, in an engine of our own that answers as the original does."""

from tasks.webshop.catalogue import Catalogue, load_catalogue
from tasks.webshop.environment import WebShopEnvironment
from tasks.webshop.reward import Score, reward
from tasks.webshop.task import WebShopGenTask, WebShopTask

__all__ = ["Catalogue", "Score", "WebShopEnvironment", "WebShopGenTask", "WebShopTask", "load_catalogue", "reward"]

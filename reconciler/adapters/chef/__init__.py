"""The Chef Server through PyChef: importing and mending it, signing, transport, documents, and the port's adapter."""

from reconciler.adapters.chef.server import PyChefServer

__all__ = ["PyChefServer"]

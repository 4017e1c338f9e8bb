"""Steps 3 and 4: serve a bundle over HTTP, with nothing of training in the process."""

from roadworthy.serve.server import serve

__all__ = ["serve"]

"""Step 3: a bundle as a container image that serves it: small, hardened, tested while it runs."""

from roadworthy.image.building import build, write_only
from roadworthy.image.engines import Image, find_engine

__all__ = ["Image", "build", "find_engine", "write_only"]

"""Step 3: the registry, where versions of models are kept, named, promoted and accounted for.

Only `references` is light; everything else needs the extra `registry` (SQLAlchemy, obstore) and is
imported by the verbs that use it.
"""

from roadworthy.registry.references import Reference, newest, parse_reference, resolve

__all__ = ["Reference", "newest", "parse_reference", "resolve"]

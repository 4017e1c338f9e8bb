"""`[registry]`: where versions are kept, who is trusted, for whom bundles are sealed."""

from __future__ import annotations

import msgspec

from roadworthy.project._range import Range

_STORES = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "file")


class RegistrySection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[registry]`: where versions are kept, who is trusted, for whom bundles are sealed.

    Attributes:
        url: The catalogue: `sqlite:///FILE` or `postgresql://HOST/DATABASE`; None: a SQLite file in
            the user's data folder.
        store: The blobs: a folder, `s3://BUCKET/PREFIX`, `gs://…` or `az://CONTAINER/PREFIX`; None:
            a folder beside the embedded catalogue.
        cache: Where fetched versions stay; None: the user's cache folder.
        trusted_keys: Public keys, one of which must have signed every bundle that is opened.
        signing_key: The key that signs what is packaged.
        recipients: For whom blobs are sealed: X25519 public keys, service keys, `passphrase`.
        register: Whether `launch` registers what it packages.
    """

    url: str | None = None
    store: str | None = None
    cache: str | None = None
    trusted_keys: tuple[str, ...] = ()
    signing_key: str | None = None
    recipients: tuple[str, ...] = ()
    register: bool = False

    def ranges(self) -> list[Range]:
        """What values are allowed, for messages."""
        scheme = (self.url or "sqlite:").partition(":")[0]
        place, separator, _ = (self.store or "").partition("://")
        return [
            Range(scheme in ("sqlite", "postgresql"), "url", "sqlite:///… or postgresql://…"),
            Range(not separator or place in _STORES, "store", "a folder, s3://…, gs://… or az://…"),
            Range(all(self.trusted_keys), "trusted_keys", "references to public keys, none empty"),
            Range(all(self.recipients), "recipients", "references to keys, none empty"),
        ]

"""TLS: certificates of server and clients, read again when they change."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

from roadworthy.errors import InputError
from roadworthy.project import ServeSection

log = logging.getLogger("roadworthy.serve")


class Certificates:
    """The TLS context of a worker.

    Args:
        options: `[serve]`; `tls_certificate` and `tls_key` turn TLS on, `client_ca` asks clients
            for a certificate.

    Attributes:
        context: For new connections; those that are open keep what they began with.

    Raises:
        InputError: A file cannot be used.
    """

    def __init__(self, options: ServeSection) -> None:
        self.options = options
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1"])
        if options.client_ca:
            self.context.verify_mode = ssl.CERT_OPTIONAL  # health stays open without one
            try:
                self.context.load_verify_locations(options.client_ca)
            except (OSError, ssl.SSLError) as error:
                raise _unusable(options.client_ca, error) from None
        self._stamp = self._load()

    def refresh(self) -> None:
        """Load the certificate again if it changed; a bad one leaves it as it is."""
        try:
            if self._look() != self._stamp:
                self._stamp = self._load()
                log.warning("the certificate was loaded again")
        except (InputError, OSError) as error:
            log.error("the certificate stays as it is: %s", error)

    def _look(self) -> list[tuple[int, int]]:
        files = (Path(str(self.options.tls_certificate)), Path(str(self.options.tls_key)))
        return [(file.stat().st_mtime_ns, file.stat().st_size) for file in files]

    def _load(self) -> list[tuple[int, int]]:
        certificate, key = str(self.options.tls_certificate), str(self.options.tls_key)
        try:
            stamp = self._look()
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)  # a rehearsal
            self.context.load_cert_chain(certificate, key)
        except (OSError, ssl.SSLError) as error:
            raise _unusable(certificate, error) from None
        return stamp


def certificates(options: ServeSection) -> Certificates | None:
    """The certificates, where TLS is on."""
    return Certificates(options) if options.tls_certificate else None


def _unusable(file: str, error: OSError) -> InputError:
    reason = error.strerror or getattr(error, "reason", None) or "not a certificate with its key"
    return InputError(f"the certificate cannot be used: {reason}", where=file)

"""Bodies that came compressed."""

from __future__ import annotations

import zlib

import httpx

_GZIP = 16 + zlib.MAX_WBITS
_MOST = 1 << 26


class Unpacker:
    """Unpacks a body of `gzip` or `deflate` piece by piece."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._inflate = zlib.decompressobj(_GZIP if encoding == "gzip" else zlib.MAX_WBITS)
        self._begun = False

    @classmethod
    def of(cls, encoding: str) -> Unpacker | None:
        """What unpacks a body of that encoding, None where there is nothing to unpack.

        Raises httpx's `DecodingError` for an encoding that nobody asked for.
        """
        encoding = encoding.strip().lower().replace("x-gzip", "gzip")
        if encoding in ("", "identity"):
            return None
        if encoding not in ("gzip", "deflate"):
            raise httpx.DecodingError(
                f"the answer's encoding is {encoding!r}, which was not asked for"
            )
        return cls(encoding)

    def feed(self, data: bytes) -> bytes:
        """What `data` adds. Raises `DecodingError`."""
        try:
            return self._feed(data)
        except zlib.error as error:
            raise httpx.DecodingError(
                f"the answer is not valid {self._encoding}: {error}"
            ) from error

    def finish(self) -> None:
        """Raise `DecodingError` if the body ended before its end."""
        if self._begun and not self._inflate.eof:
            raise httpx.DecodingError(f"the answer's {self._encoding} is cut off")

    def _feed(self, data: bytes) -> bytes:
        if not self._begun and data:
            self._begun = True
            # "deflate" is a zlib stream, but some servers send one without its head.
            if self._encoding == "deflate" and (data[0] & 0x0F) != 8:
                self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        unpacked = self._inflate.decompress(data, _MOST)
        # A gzip body may have several members.
        while (
            self._inflate.eof and (rest := self._inflate.unused_data) and self._encoding == "gzip"
        ):
            self._inflate = zlib.decompressobj(_GZIP)
            unpacked += self._inflate.decompress(rest, _MOST)
        if self._inflate.unconsumed_tail or len(unpacked) > _MOST:
            raise httpx.DecodingError(f"a piece of the answer unpacks to more than {_MOST} bytes")
        return unpacked

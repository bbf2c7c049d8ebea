"""Pages of the public web, and of nothing else: each address is checked before it is reached.

A name is looked up once, all of its addresses are checked, and the connection goes to one of
those: what the name means a moment later does not matter. Redirects are followed by hand, each
with the same checks. Proxies from the environment are not used.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from llmgate.agent.functions.addresses import (
    Address,
    Allowed,
    Target,
    is_local_name,
    is_public,
    literal_address,
    redirected,
    target_of,
)
from llmgate.errors import FunctionError

if TYPE_CHECKING:
    import ssl

    import httpx

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

_REDIRECTS = (301, 302, 303, 307, 308)
# What says something about the body or about what to do next: the rest costs context.
_HEADERS = (
    "content-type", "content-length", "last-modified", "location", "retry-after", "allow",
    "www-authenticate",
)  # fmt: skip
_MOST_ADDRESSES = 4
_CONNECT = 8.0


class Fetched(msgspec.Struct, frozen=True):
    """An answer. `cut`: the body went on, but only its beginning was read."""

    url: str
    status: int
    headers: dict[str, str]
    body: str
    cut: bool = False


class Fetcher:
    """Sends requests to public addresses, and to those that the configuration allows."""

    def __init__(
        self,
        private_addresses: Sequence[str] = (),
        *,
        seconds: float = 30.0,
        most_bytes: int = 256 * 1024,
        redirects: int = 5,
        resolve: Resolve | None = None,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        """`private_addresses` as `agent.private_addresses`. Raises ConfigError for a bad one.

        `seconds` is for all of it, redirects included; a body is read up to `most_bytes`.
        `resolve` looks up the addresses of a host, `trust` is what HTTPS relies on.
        """
        self._allowed = Allowed(private_addresses)
        self._seconds = seconds
        self._most_bytes = most_bytes
        self._redirects = redirects
        self._resolve = resolve or _looked_up
        self._trust = trust

    async def fetch(self, method: str, url: str, payload: Any = None) -> Fetched:
        """Send a request and read its answer; `payload` goes as JSON, except with GET and HEAD.

        Raises FunctionError for an address that may not be reached, and for what fails.
        """
        import httpx

        try:
            async with asyncio.timeout(self._seconds):
                return await self._followed(method, url, payload)
        except TimeoutError as error:
            said = f"{url} took longer than {self._seconds:g} seconds."
            raise FunctionError(said) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            kind = type(error).__name__
            raise FunctionError(f"{url} can't be fetched: {str(error) or kind}.") from error

    async def addresses(self, target: Target, *, sent_by: Target | None = None) -> list[Address]:
        """The addresses of a host, each of which may be reached. Raises FunctionError.

        A page of another host, `sent_by`, can send to public addresses only: what is allowed
        beside them is for whoever asks for it, with the approval that this takes.
        """
        allowed = sent_by is None or sent_by.host == target.host
        written = literal_address(target.host)
        by_name = allowed and self._allowed.host(target.host)
        if written is not None:
            found = [written]
        else:
            if is_local_name(target.host) and not by_name:
                raise FunctionError(_closed(target, "this machine", sent_by))
            found = await self._named(target)
        for address in found:
            if by_name or is_public(address) or (allowed and self._allowed.address(address)):
                continue
            raise FunctionError(_closed(target, str(address), sent_by))
        return found

    async def _named(self, target: Target) -> list[Address]:
        try:
            texts = await self._resolve(target.host, target.port)
        except OSError as error:
            raise FunctionError(f"The host {target.host} is not known.") from error
        found = [address for text in texts if (address := literal_address(text)) is not None]
        if not found or len(found) < len(texts):
            raise FunctionError(f"The host {target.host} has no usable address.")
        return list(dict.fromkeys(found))

    async def _followed(self, method: str, url: str, payload: Any) -> Fetched:
        method = method.upper()
        target, sent_by = target_of(url), None
        for _ in range(self._redirects + 1):
            addresses = await self.addresses(target, sent_by=sent_by)
            answer = await self._asked(method, target, addresses, payload)
            location = answer.headers.get("location")
            if answer.status not in _REDIRECTS or not location:
                return answer
            following = redirected(target, location)
            if answer.status == 303 or (answer.status in (301, 302) and method == "POST"):
                method, payload = ("HEAD" if method == "HEAD" else "GET"), None
            # What the user has agreed to send to one site goes to no other.
            if method not in ("GET", "HEAD") and following.site != target.site:
                raise FunctionError(
                    f"{target.site} sends this {method} on to {following.site}: not followed."
                )
            target, sent_by = following, target
        raise FunctionError(f"{url} was redirected more than {self._redirects} times.")

    async def _asked(
        self, method: str, target: Target, addresses: Sequence[Address], payload: Any
    ) -> Fetched:
        import httpx

        addresses = addresses[:_MOST_ADDRESSES]
        for number, address in enumerate(addresses, 1):
            transport = httpx.AsyncHTTPTransport(verify=self._trusted(target), trust_env=False)
            try:
                async with transport:
                    return await self._exchanged(transport, method, target, address, payload)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if number == len(addresses):
                    raise
        raise AssertionError("a host has an address")

    def _trusted(self, target: Target) -> ssl.SSLContext | bool:
        """What HTTPS relies on: None means the list of authorities that comes with httpx."""
        if self._trust is not None or target.scheme == "https":
            return self._trust if self._trust is not None else True
        import ssl

        # Reading that list takes longer than many a request, and HTTP has no use for it.
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    async def _exchanged(
        self,
        transport: httpx.AsyncHTTPTransport,
        method: str,
        target: Target,
        address: Address,
        payload: Any,
    ) -> Fetched:
        """One request over a connection to one address, which is not looked up again."""
        import httpx

        from llmgate.backends.unpacking import Unpacker

        host = f"[{address}]" if address.version == 6 else str(address)
        url = httpx.URL(f"{target.scheme}://{host}:{target.port}").copy_with(
            raw_path=target.path.encode("ascii")
        )
        assert literal_address(url.host) == address
        headers = {
            "Host": target.authority,
            "User-Agent": "llmgate",
            "Accept": "*/*",
            "Accept-Encoding": "identity",
        }
        content = None
        if payload is not None and method not in ("GET", "HEAD"):
            content = json.dumps(payload, ensure_ascii=False).encode()
            headers["Content-Type"] = "application/json"
        extensions: dict[str, Any] = {
            "sni_hostname": target.host,
            # The rest of the time is watched over all requests together.
            "timeout": {"connect": min(_CONNECT, self._seconds)},
        }
        request = httpx.Request(
            method, url, headers=headers, content=content, extensions=extensions
        )
        response = await transport.handle_async_request(request)
        try:
            assert isinstance(response.stream, httpx.AsyncByteStream)
            unpacker = Unpacker.of(response.headers.get("content-encoding", ""))
            body, cut = b"", False
            async for piece in response.stream:
                body += unpacker.feed(piece) if unpacker is not None else piece
                if len(body) > self._most_bytes:
                    body, cut = body[: self._most_bytes], True
                    break
        finally:
            await response.aclose()
        shown = {name: response.headers[name] for name in _HEADERS if name in response.headers}
        return Fetched(
            url=f"{target.site}{target.path}",
            status=response.status_code,
            headers=shown,
            body=_text(body, response.charset_encoding, cut),
            cut=cut,
        )


async def _looked_up(host: str, port: int) -> list[str]:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(str(error)) from error
    return [str(entry[4][0]) for entry in found]


def _text(body: bytes, encoding: str | None, cut: bool) -> str:
    """The body as text; what is none is described."""
    if b"\0" in body[:1024] and (encoding or "").lower()[:6] not in ("utf-16", "utf-32"):
        return f"(not a text: {len(body)} bytes{' or more' if cut else ''})"
    try:
        return body.decode(encoding or "utf-8", "replace")
    except LookupError:
        return body.decode("utf-8", "replace")


def _closed(target: Target, where: str, sent_by: Target | None) -> str:
    said = f"{target.host} is not on the public web ({where}), so it is not fetched"
    if sent_by is not None and sent_by.host != target.host:
        return f"{said}: {sent_by.site} can't send you there."
    return f"{said}. The user can allow it in agent.private_addresses."

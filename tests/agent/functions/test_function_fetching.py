"""What is fetched from the web, and what is not: private addresses, however they are written."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import ipaddress
import json
import socket
import ssl
import sys
from pathlib import Path

import pytest

from llmgate.agent.functions import Fetcher
from llmgate.agent.functions.addresses import is_public, target_of
from llmgate.errors import ConfigError, FunctionError
from tests.agent.functions.bypasses import EVIL_NAMES, bypasses

PEM = Path(__file__).parents[2] / "backends" / "tls" / "localhost.pem"
SITE = "site.example"


class Server:
    """Answers HTTP on this machine, and remembers what it was asked."""

    def __init__(self):
        self.requests = []
        self.answers = {}
        self.names = []
        self.port = 0

    @property
    def paths(self):
        return [line.split()[1] for line, _, _ in self.requests]

    async def serve(self, reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            line, *lines = head.strip().split("\r\n")
            headers = dict(one.lower().split(": ", 1) for one in lines)
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            self.requests.append((line, headers, body))
            answer = self.answers.get(line.split()[1], b"HTTP/1.1 200 OK\r\n\r\nhello")
            if callable(answer):
                await answer(reader, writer)
            else:
                writer.write(answer)
                await writer.drain()
        writer.close()

    def redirect(self, path, location, status=302):
        head = f"HTTP/1.1 {status} Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
        self.answers[path] = head.encode("utf-8")


@contextlib.asynccontextmanager
async def serving(host="127.0.0.1", port=0, tls=False):
    server = Server()
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(PEM)
        context.sni_callback = lambda _, name, __: server.names.append(name)
    running = await asyncio.start_server(server.serve, host, port, ssl=context)
    async with running:
        server.port = running.sockets[0].getsockname()[1]
        yield server


@pytest.fixture
async def server():
    async with serving() as made:
        yield made


def names(**known):
    """A resolver: these names, and else only what the system takes for an address."""
    asked = []

    async def resolve(host, port):
        asked.append(host)
        if host in table:
            return table[host]
        found = socket.getaddrinfo(host, port, flags=socket.AI_NUMERICHOST)
        return [entry[4][0] for entry in found]

    table = {name.replace("_", "."): value for name, value in known.items()}
    resolve.asked = asked
    return resolve


def plainly(port=None):
    """A fetcher that knows one site, which is on this machine and allowed."""
    return Fetcher([SITE], resolve=names(site_example=["127.0.0.1"]), seconds=10)


async def refused(fetcher, url, method="GET"):
    with pytest.raises(FunctionError) as caught:
        await fetcher.fetch(method, url)
    return str(caught.value)


async def test_no_form_of_a_private_address_is_reached(server):
    forms = bypasses(server.port)
    assert len(forms) >= 500
    resolve = names()

    async def evil(host, port):
        return EVIL_NAMES[host] if host in EVIL_NAMES else await resolve(host, port)

    fetcher = Fetcher(resolve=evil, seconds=10)
    for url in forms:
        assert await refused(fetcher, url)
    assert server.requests == []
    # The server is there: who allows the address gets its page.
    page = await Fetcher(["127.0.0.1"]).fetch("GET", f"http://127.0.0.1:{server.port}/secret")
    assert page.body == "hello"


async def test_no_redirect_leads_to_a_private_address(server):
    forms = [url for url in bypasses(server.port) if not set(url) & set("\r\n\0")]
    assert len(forms) >= 400
    for number, url in enumerate(forms):
        server.redirect(f"/{number}", url)
    fetcher = plainly()
    for number in range(len(forms)):
        try:
            await fetcher.fetch("GET", f"http://{SITE}:{server.port}/{number}")
        except FunctionError:
            continue
        # A form may also be read as a path on the site itself.
    asked = {headers["host"] for _, headers, _ in server.requests}
    assert asked == {f"{SITE}:{server.port}"}


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:{port}/secret", "//127.0.0.1:{port}/secret", "http://[::1]:{port}/secret",
     "http://2130706433:{port}/secret", "file:///etc/passwd", "ftp://127.0.0.1/",
     "http://other.example:{port}/secret"],
)  # fmt: skip
async def test_a_redirect_is_checked_as_the_first_address_is(server, url):
    server.redirect("/go", url.format(port=server.port))
    resolve = names(site_example=["127.0.0.1"], other_example=["127.0.0.1"])
    assert await refused(Fetcher([SITE], resolve=resolve), f"http://{SITE}:{server.port}/go")
    assert server.paths == ["/go"]


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "8.8.8.8", "93.184.216.34", "172.15.255.255", "172.32.0.1", "192.169.0.1",
     "100.63.255.255", "100.128.0.1", "223.255.255.255", "2606:4700::1", "2a00:1450::1",
     "2001:200::1", "2620:0:2d0::1"],
)  # fmt: skip
def test_a_public_address_is_public(address):
    assert is_public(ipaddress.ip_address(address))


def test_no_address_of_a_network_that_is_not_public_is_public():
    networks = ["0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
                "172.16.0.0/12", "192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/3",
                "::/3", "2001::/23", "2001:db8::/32", "2002::/16", "fc00::/7", "fe80::/10",
                "fec0::/10", "ff00::/8", "4000::/2", "8000::/1"]  # fmt: skip
    for network in map(ipaddress.ip_network, networks):
        size = network.num_addresses
        for place in (0, 1, size // 3, size // 2, size - 2, size - 1):
            assert not is_public(network[place])


@pytest.mark.skipif(sys.platform == "darwin", reason="127.0.0.2 is no address of its own there")
async def test_a_name_is_looked_up_once_and_the_connection_goes_to_what_was_checked(monkeypatch):
    """A server of names that answers differently the second time gets nobody anywhere."""
    async with serving() as good, serving("127.0.0.2", good.port) as bad:
        answers = [["127.0.0.1"], ["127.0.0.2"], ["127.0.0.2"]]

        async def resolve(host, port):
            return answers.pop(0)

        looked_up = []
        lookup = socket.getaddrinfo

        def watched(host, *rest, **options):
            looked_up.append(host)
            return lookup(host, *rest, **options)

        monkeypatch.setattr(socket, "getaddrinfo", watched)
        fetcher = Fetcher(["127.0.0.1"], resolve=resolve)
        page = await fetcher.fetch("GET", f"http://rebind.example:{good.port}/")
        assert page.body == "hello"
        assert len(answers) == 2
        assert len(good.requests) == 1
        assert good.requests[0][1]["host"] == f"rebind.example:{good.port}"
        # And where the second request asks again, it is checked again.
        assert await refused(fetcher, f"http://rebind.example:{good.port}/")
        assert bad.requests == []
        assert not {str(host) for host in looked_up} - {"127.0.0.1", "b'127.0.0.1'"}


async def test_one_private_address_among_public_ones_is_enough_to_refuse(server):
    resolve = names(mixed_example=["93.184.216.34", "127.0.0.1"])
    said = await refused(Fetcher(resolve=resolve), f"http://mixed.example:{server.port}/")
    assert "mixed.example" in said
    assert "agent.private_addresses" in said


@pytest.mark.parametrize(
    ("allowed", "url", "reached"),
    [
        ("127.0.0.1", "http://127.0.0.1:{}/", True),
        ("127.0.0.0/8", "http://127.0.0.1:{}/", True),
        ("LocalHost", "http://localhost:{}/", True),
        ("site.example", "http://Site.Example:{}/", True),
        ("127.0.0.1", "http://site.example:{}/", True),
        ("127.0.0.1", "http://localhost:{}/", False),
        ("site.example", "http://127.0.0.1:{}/", False),
        ("site.example", "http://a.site.example:{}/", False),
        ("10.0.0.0/8", "http://127.0.0.1:{}/", False),
        ("127.0.0.2", "http://127.0.0.1:{}/", False),
    ],
)
async def test_what_the_configuration_allows_is_reached_and_nothing_more(
    server, allowed, url, reached
):
    here = ["127.0.0.1"]
    table = names(site_example=here, localhost=here, a_site_example=here)
    fetcher = Fetcher([allowed], resolve=table)
    if reached:
        assert (await fetcher.fetch("GET", url.format(server.port))).status == 200
    else:
        await refused(fetcher, url.format(server.port))
    assert len(server.requests) == reached


@pytest.mark.parametrize("entry", ["", "a b", "http://x", "10.0.0.0/99", "0x7f.1", "127.1", "x:80"])
def test_what_can_not_be_allowed_names_itself(entry):
    with pytest.raises(ConfigError, match=r"agent\.private_addresses"):
        Fetcher([entry])


@pytest.mark.parametrize(
    ("url", "authority", "path"),
    [
        ("https://Example.org", "example.org", "/"),
        ("http://example.org:80/a?b=c#d", "example.org", "/a?b=c"),
        ("http://example.org:8080/ä?q=ü", "example.org:8080", "/%C3%A4?q=%C3%BC"),
        ("https://example.org./%7Ea", "example.org", "/%7Ea"),
        ("https://bücher.example/", "xn--bcher-kva.example", "/"),
        ("https://[2606:4700::1]:444/", "[2606:4700::1]:444", "/"),
        ("https://a_b.example/?x", "a_b.example", "/?x"),
        ("HTTPS://1.1.1.1", "1.1.1.1", "/"),
    ],
)
def test_a_url_is_read_in_one_way(url, authority, path):
    target = target_of(url)
    assert (target.authority, target.path) == (authority, path)


async def test_a_page_is_fetched_with_what_matters_of_its_head(server):
    server.answers["/page"] = (
        b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain; charset=latin-1\r\n"
        b"Set-Cookie: a=b\r\nContent-Length: 4\r\n\r\ncaf\xe9"
    )
    page = await plainly().fetch("get", f"http://{SITE}:{server.port}/page?q=1#top")
    assert server.paths == ["/page?q=1"]
    page = await plainly().fetch("GET", f"http://{SITE}:{server.port}/page")
    assert (page.status, page.body, page.cut) == (404, "café", False)
    assert page.headers == {
        "content-type": "text/plain; charset=latin-1", "content-length": "4"
    }  # fmt: skip


async def test_json_is_sent_except_with_get(server):
    url = f"http://{SITE}:{server.port}/"
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        await plainly().fetch(method, url, {"ü": 1})
    bodies = {line.split()[0]: body for line, _, body in server.requests}
    assert bodies.pop("GET") == b""
    assert {json.loads(body)["ü"] for body in bodies.values()} == {1}
    assert server.requests[1][1]["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("status", "method", "after"),
    [(301, "GET", "GET"), (302, "POST", "GET"), (303, "PUT", "GET"), (307, "POST", "POST"),
     (308, "PUT", "PUT"), (303, "HEAD", "HEAD")],
)  # fmt: skip
async def test_redirects_are_followed_as_they_are_meant(server, status, method, after):
    server.redirect("/from", "to?x=1", status)
    page = await plainly().fetch(method, f"http://{SITE}:{server.port}/from", {"a": 1})
    assert page.url == f"http://{SITE}:{server.port}/to?x=1"
    line, _, body = server.requests[1]
    assert line.split()[:2] == [after, "/to?x=1"]
    assert bool(body) == (after in ("POST", "PUT"))


async def test_what_was_meant_for_one_site_is_not_sent_on_to_another(server):
    server.redirect("/from", f"http://other.example:{server.port}/to", 307)
    table = names(site_example=["127.0.0.1"], other_example=["127.0.0.1"])
    fetcher = Fetcher([SITE, "other.example"], resolve=table)
    url = f"http://{SITE}:{server.port}/from"
    assert "not followed" in await refused(fetcher, url, "POST")
    assert server.paths == ["/from"]


@pytest.mark.parametrize("allowed", ["nas.example", "127.0.0.1"])
async def test_what_is_allowed_beside_the_public_web_is_for_those_who_ask_for_it(server, allowed):
    server.redirect("/from", f"http://nas.example:{server.port}/admin")
    table = names(site_example=["127.0.0.1"], nas_example=["127.0.0.1"])
    fetcher = Fetcher([SITE, allowed], resolve=table)
    assert (await fetcher.fetch("GET", f"http://nas.example:{server.port}/admin")).status == 200
    said = await refused(fetcher, f"http://{SITE}:{server.port}/from")
    assert f"http://{SITE}:{server.port} can't send you there" in said
    assert server.paths == ["/admin", "/from"]


async def test_a_site_may_send_to_another_one_that_is_public():
    fetcher = Fetcher(resolve=names(public_example=["93.184.216.34"]))
    target = target_of("https://public.example/")
    found = await fetcher.addresses(target, sent_by=target_of("https://site.example/"))
    assert [str(address) for address in found] == ["93.184.216.34"]


async def test_redirects_in_a_circle_end(server):
    server.redirect("/a", "/a")
    said = await refused(plainly(), f"http://{SITE}:{server.port}/a")
    assert "more than 5 times" in said
    assert len(server.requests) == 6


async def endless(reader, writer):
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    with contextlib.suppress(ConnectionError):
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()


async def test_a_body_without_an_end_is_read_up_to_the_limit(server):
    server.answers["/"] = endless
    fetcher = Fetcher([SITE], resolve=names(site_example=["127.0.0.1"]), most_bytes=1000)
    page = await fetcher.fetch("GET", f"http://{SITE}:{server.port}/")
    assert (len(page.body), page.cut) == (1000, True)


async def test_a_small_body_that_unpacks_to_a_large_one_is_cut(server):
    packed = gzip.compress(b"x" * 10_000_000)
    server.answers["/"] = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + packed
    page = await plainly().fetch("GET", f"http://{SITE}:{server.port}/")
    assert (len(page.body), page.cut) == (256 * 1024, True)


async def test_a_server_that_does_not_answer_is_given_up(server):
    async def silent(reader, writer):
        await reader.read()

    server.answers["/"] = silent
    fetcher = Fetcher([SITE], resolve=names(site_example=["127.0.0.1"]), seconds=0.1)
    said = await refused(fetcher, f"http://{SITE}:{server.port}/")
    assert "longer than 0.1 seconds" in said


async def test_what_is_no_text_is_described(server):
    server.answers["/"] = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\x89PN\x00"
    page = await plainly().fetch("GET", f"http://{SITE}:{server.port}/")
    assert page.body == "(not a text: 4 bytes)"


@pytest.mark.parametrize(
    "answer", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"]
)
async def test_a_broken_answer_is_a_failure_in_words(server, answer):
    server.answers["/"] = answer
    said = await refused(plainly(), f"http://{SITE}:{server.port}/")
    assert "can't be fetched" in said


async def test_nobody_there_is_a_failure_in_words(server):
    async with serving() as gone:
        port = gone.port
    assert "can't be fetched" in await refused(plainly(), f"http://{SITE}:{port}/")
    assert "not known" in await refused(Fetcher(resolve=names()), "http://nowhere.example/")


async def test_a_second_address_is_tried_where_the_first_is_not_reached(server):
    resolve = names(site_example=["::1", "127.0.0.1"])
    page = await Fetcher([SITE], resolve=resolve).fetch("GET", f"http://{SITE}:{server.port}/")
    assert page.body == "hello"


async def test_proxies_of_the_environment_are_not_used(server, monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    page = await plainly().fetch("GET", f"http://{SITE}:{server.port}/")
    assert page.body == "hello"


def trusting():
    return ssl.create_default_context(cafile=str(PEM))


async def test_https_is_checked_against_the_host_of_the_url():
    async with serving(tls=True) as server:
        table = names(site_example=["127.0.0.1"])
        fetcher = Fetcher([SITE, "127.0.0.1"], resolve=table, trust=trusting())
        page = await fetcher.fetch("GET", f"https://127.0.0.1:{server.port}/")
        assert page.body == "hello"
        # The certificate is for the address: that the name leads there does not make it right.
        said = await refused(fetcher, f"https://{SITE}:{server.port}/")
        assert "certificate" in said.lower()
        assert server.names[-1] == SITE
        assert len(server.requests) == 1


async def test_https_trusts_nobody_whom_it_does_not_know():
    async with serving(tls=True) as server:
        said = await refused(Fetcher(["127.0.0.1"]), f"https://127.0.0.1:{server.port}/")
        assert "certificate" in said.lower()
        assert server.requests == []

"""URLs that mean this machine, a private network or no page of the web, as attackers write them."""

from __future__ import annotations

import ipaddress
import itertools

EVIL_NAMES = {
    "127.0.0.1.nip.io": ["127.0.0.1"],
    "localtest.me": ["127.0.0.1"],
    "six.example": ["::1"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "mixed.example": ["93.184.216.34", "127.0.0.1"],
    "mixed6.example": ["2606:2800:220:1::1", "::1"],
    "home.example": ["192.168.1.1"],
    "ten.example": ["10.1.2.3"],
    "cloud.example": ["169.254.169.254"],
    "nat.example": ["100.64.0.1"],
    "zero.example": ["0.0.0.0"],
    "link.example": ["fe80::1"],
    "scoped.example": ["fe80::1%lo"],
    "unique.example": ["fd00::1"],
    "nat64.example": ["64:ff9b::7f00:1"],
    "six4.example": ["2002:7f00:1::"],
    "teredo.example": ["2001:0:4136:e378:8000:63bf:3fff:fdd2"],
    "group.example": ["224.0.0.1"],
    "group6.example": ["ff02::1"],
    "odd.example": ["not an address"],
    "empty.example": [],
}
_HOSTS = """
    localhost LOCALHOST localhost. localhost.. a.localhost localhost.localdomain lоcalhost
    ⓛocalhost loc%61lhost ℓocalhost localhost%00.org
    0 00 0x0 127.1 127.0.1 127.00.00.01 0177.0.0.1 0177.0.0.01 0x7f.0.0.1 0x7f.1
    0x7F.0X0.0x0.0x1 2130706433 0x7f000001 0X7F000001 017700000001 127.0.0.1. 127.0.0.1..
    127.000.000.001 127.0.0.0x1 127.0.0.257 127.0.0.1.0 383.0.0.1 4294967297 0x17f000001
    １２７.０.０.１ ①②⑦.⓪.⓪.① 𝟭𝟮𝟳.𝟬.𝟬.𝟭 127。0。0。1 127．0．0．1 127｡0｡0｡1 ١٢٧.٠.٠.١
    127.0.0.1%20 127.0.0.1%00 %31%32%37.0.0.1 127.0.0.1\\
    [::1] [::] [0:0:0:0:0:0:0:1] [0000::0001] [::ffff:127.0.0.1] [::FFFF:7F00:1]
    [0:0:0:0:0:ffff:127.0.0.1] [::127.0.0.1] [::ffff:0:127.0.0.1] [64:ff9b::127.0.0.1]
    [64:ff9b:1::7f00:1] [2002:7f00:1::] [2001:0:4136:e378:8000:63bf:3fff:fdd2]
    [fe80::1] [fe80::1%25lo] [fe80::1%lo] [::1%25lo] [fc00::1] [fd12:3456::1] [fec0::1]
    [ff02::1] [100::1] [2001:db8::1] [3fff::1] [::1 ::1 [::1]] [[::1]] [127.0.0.1]
    [::ffff:0x7f.1] [2606:4700:0:0:0:5efe:127.0.0.1] [2606:4700::200:5efe:a00:1] [v1.x]
"""
_BLANKS = ("127.0.0.1 ", " 127.0.0.1", "127.0.0.1\t", "12\t7.0.0.1", "127.0.0.1\u200b",
           "127.0.0.1\u00ad", "127.0.0.1\r\nHost: a", "127.0.0.1\x00")  # fmt: skip
_PRIVATE = """
    10.0.0.1 172.16.0.1 172.31.255.255 192.168.0.1 169.254.169.254 100.64.0.1 0.0.0.0
    127.255.255.254 198.18.0.1 192.0.0.1 192.0.2.1 198.51.100.7 203.0.113.9 224.0.0.1
    239.1.2.3 240.0.0.1 255.255.255.255 192.88.99.1
"""
_STARTS = """
    http://example.org@ http://a:b@ http://@ http:\\\\ http:/ http: // http:/// http:////
    http://example.org\\@ http://example.org%40@ http://[::ffff: http://user@example.org:80@
    file:// ftp:// gopher:// dict:// ldap:// ws:// jar:http:// view-source:http:// data:,
    javascript: unix: http+unix:// blob:http:// feed:http:// about:
"""
_WHOLE = """
    file:///etc/passwd http:// https:// / http://:80/ http://127.0.0.1:0/
    http://127.0.0.1:99999/ http://127.0.0.1:-1/ http://127.0.0.1:٨٠/ http://127.0.0.1:8_0/
"""


def bypasses(port: int) -> list[str]:
    """All of them, for a server on a port of this machine."""
    hosts = [*_HOSTS.split(), *_BLANKS]
    for name in EVIL_NAMES:
        hosts += [name, name.upper(), f"{name}."]
    for private in _PRIVATE.split():
        number = int(ipaddress.IPv4Address(private))
        first, rest = private.split(".", 1)
        hosts += [private, f"{private}.", str(number), hex(number), f"0{number:o}"]
        hosts += [f"0{int(first):o}.{rest}", f"{int(first):#x}.{rest}"]
        hosts += [f"[::ffff:{private}]", f"[::{private}]", f"[64:ff9b::{private}]"]
        hosts += [f"[2002:{number >> 16:x}:{number & 0xFFFF:x}::1]"]
    urls = [f"http://{host}:{port}/secret" for host in hosts]
    urls += [f"https://{host}/" for host in hosts[:90]]
    there = f"127.0.0.1:{port}/secret"
    starts = [
        *_STARTS.split(),
        "",
        "http:\t//",
        "ht\ntp://",
        " http://",
        "\x00http://",
        "http://\n",
    ]
    ends = ("", "#", "?", "#@example.org", "?@example.org", "\\@example.org")
    urls += [f"{start}{there}{end}" for start, end in itertools.product(starts, ends)]
    for end in ("@example.org/", "\\@example.org/", "#", "?x", "/../", ":80/", "%2f"):
        urls.append(f"http://127.0.0.1:{port}{end}")
    return list(dict.fromkeys([*urls, *_WHOLE.split(), ""]))

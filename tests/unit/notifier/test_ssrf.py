"""The SSRF guard."""

import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier import ssrf
from notifier.errors import RefusedUrl

REFUSED = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.255",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:10::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "3fff::1",
    "5f00::1",
    "4000::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]
ALLOWED = [
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "223.255.255.255",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2606:4700::1111",
    "2a00:1450:4001::1",
    "2001:4860:4860::8888",
]


@pytest.mark.parametrize("address", REFUSED)
def test_special_addresses_are_refused_with_a_reason(address):
    reason = ssrf.refusal(address)
    assert reason is not None
    assert reason.startswith(f"{address} is a")


@pytest.mark.parametrize("address", ALLOWED)
def test_public_addresses_pass(address):
    assert ssrf.refusal(address) is None


@given(st.ip_addresses())
def test_nothing_passes_that_the_standard_library_does_not_call_global(ip):
    if ssrf.refusal(str(ip)) is None:
        assert ip.is_global


@given(st.ip_addresses(v=4))
def test_a_mapped_or_translated_address_is_judged_like_the_one_inside(ip):
    inside = ssrf.refusal(str(ip)) is None
    assert (ssrf.refusal(f"::ffff:{ip}") is None) == inside
    assert (ssrf.refusal(f"64:ff9b::{ip}") is None) == inside


#: Spellings of this machine's (or the metadata service's) address, by trick.
SPELLINGS = {
    "plain": "https://127.0.0.1/x",
    "elsewhere in 127/8": "https://127.8.8.8/x",
    "unspecified": "https://0.0.0.0/x",
    "unspecified v6": "https://[::]/x",
    "loopback v6": "https://[::1]/x",
    "loopback v6, long": "https://[0:0:0:0:0:0:0:1]/x",
    "decimal": "https://2130706433/",
    "hex": "https://0x7f000001/",
    "hex by byte": "https://0x7f.0x0.0x0.0x1/",
    "octal": "https://0177.0.0.1/",
    "octal, whole": "https://017700000001/",
    "leading zeros": "https://127.000.000.001/",
    "mixed bases": "https://0x7f.0.0.01/",
    "three parts": "https://127.0.1/",
    "two parts": "https://127.1/",
    "zero": "https://0/",
    "trailing dot": "https://127.0.0.1./x",
    "full-width digits": "https://１２７.0.0.1/",
    "circled digits": "https://①②⑦.⓪.⓪.①/",
    "ideographic dots": "https://127。0。0。1/",
    "percent-encoded": "https://%31%32%37.0.0.1/",
    "mapped": "https://[::ffff:127.0.0.1]/x",
    "mapped, hex": "https://[::ffff:7f00:1]/x",
    "compatible": "https://[::127.0.0.1]/x",
    "NAT64": "https://[64:ff9b::7f00:1]/x",
    "NAT64, dotted": "https://[64:ff9b::127.0.0.1]/x",
    "NAT64, local": "https://[64:ff9b:1::7f00:1]/x",
    "6to4": "https://[2002:7f00:1::]/x",
    "Teredo": "https://[2001:0:7f00:1::]/x",
    "zone": "https://[fe80::1%25eth0]/x",
    "zone, raw": "https://[fe80::1%eth0]/x",
    "zone on loopback": "https://[::1%25lo]/x",
    "name": "https://localhost/x",
    "name in capitals": "https://LOCALHOST/x",
    "name with a dot": "https://localhost./x",
    "user before it": "https://shop.example@127.0.0.1/x",
    "user and password": "https://shop.example:443@127.0.0.1/x",
    "user, empty": "https://@127.0.0.1/x",
    "backslash": "https://127.0.0.1\\@8.8.8.8/x",
    "fragment": "https://127.0.0.1#@8.8.8.8/x",
    "metadata": "https://169.254.169.254/latest/meta-data",
    "metadata, decimal": "https://2852039166/latest/meta-data",
    "metadata, mapped": "https://[::ffff:169.254.169.254]/x",
    "metadata v6": "https://[fd00:ec2::254]/x",
    "no host": "https:127.0.0.1/x",
    "two hosts": "https://8.8.8.8 127.0.0.1/x",
    "port 0": "https://8.8.8.8:0/x",
    "port too large": "https://8.8.8.8:65536/x",
    "port negative": "https://8.8.8.8:-1/x",
    "port no number": "https://8.8.8.8:44a/x",
    "port with a host": "https://8.8.8.8:80@127.0.0.1/x",
    "tab": "https://127.0.0.1\t/x",
    "no brackets": "https://::1/x",
}


@pytest.mark.parametrize("url", SPELLINGS.values(), ids=SPELLINGS)
def test_every_way_to_write_a_refused_address_is_refused_when_added(url):
    with pytest.raises(RefusedUrl) as caught:
        ssrf.check_url(url)
    assert caught.value.field == "url"


def test_a_refused_name_says_where_it_leads_and_what_to_set():
    with pytest.raises(
        RefusedUrl, match=r"not sent to localhost: .* is a loopback address.*webhook_allow_private"
    ):
        ssrf.check_url("https://localhost/x")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://shop.example/x", "begins with https://"),
        ("ftp://shop.example/x", "begins with https://"),
        ("shop.example/x", "begins with https://"),
        ("https:///x", "names a host|not a URL"),
        ("https://shop.example:0/x", "port 0"),
        ("https://shop.example:99999/x", "not a URL"),
        ("https://user:secret@shop.example/x", "no user name or password"),
        ("https://user@shop.example/x", "no user name or password"),
        ("https://shop.example/x#part", "no fragment"),
        ("https://shop.example/a b", "no spaces"),
        ("https://shop.example/\r\nx: y", "no spaces or control"),
        ("https://shop.example/" + "x" * 3000, "at most 2048"),
        ("", "begins with https://"),
    ],
)
def test_a_url_of_another_form_is_refused_with_the_reason(url, message):
    with pytest.raises(RefusedUrl, match=message):
        ssrf.check_url(url)


@given(st.text(max_size=60))
def test_any_text_is_a_url_or_is_refused(text):
    try:
        parsed = ssrf.parse_url("https://" + text, allow_http=False)
    except RefusedUrl:
        return
    assert parsed.host
    assert parsed.scheme == "https"


def test_a_public_literal_passes_unchanged():
    assert ssrf.check_url("https://8.8.8.8:8443/Hooks?x=1") == "https://8.8.8.8:8443/Hooks?x=1"


def test_a_name_that_does_not_resolve_passes_because_it_is_checked_again_when_sent():
    assert ssrf.check_url("https://shop.invalid/x", timeout=10) == "https://shop.invalid/x"


def test_a_look_up_that_hangs_ends_with_its_timeout(monkeypatch):
    hang = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: hang.wait(10) and [])
    assert ssrf.lookup("shop.example", 443, timeout=0.01) == []
    hang.set()


def test_development_settings_let_plain_http_and_private_addresses_pass():
    url = "http://127.0.0.1:8421/"
    assert ssrf.check_url(url, allow_http=True, allow_private=True) == url
    with pytest.raises(RefusedUrl, match="loopback"):
        ssrf.check_url(url, allow_http=True)


def test_the_socket_factory_refuses_before_a_socket_exists():
    info = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("10.0.0.1", 443))
    with pytest.raises(ssrf.RefusedAddress, match="private"):
        ssrf.socket_factory(allow_private=False)(info)
    with ssrf.socket_factory(allow_private=True)(info) as opened:
        assert opened.family == socket.AF_INET

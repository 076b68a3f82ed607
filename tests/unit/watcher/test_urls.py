"""The web addresses that settings and merchants name."""

import pytest

from watcher.urls import MAX_URL_LENGTH, origin_of, parse_page_url, parse_support_url, with_parameters


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example",
        "https://shop.example:8443/thanks?order=7&x=a,b;c#top",
        "https://[2606:4700::1111]/",
        "http://localhost:3000/cart",
        "http://127.0.0.1/cart",
        "http://[::1]:8420/cart",
        "http://shop.localhost/cart",
    ],
)
def test_an_encrypted_page_is_accepted_and_a_plain_one_of_this_machine(url: str) -> None:
    """https anywhere, http where no network is between."""
    assert parse_page_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        *("", "shop.example", "/cart", "//shop.example", "ftp://shop.example", "http://shop.example"),
        *("javascript:alert(1)", "data:text/html,x", "JavaScript://shop.example/%0aalert(1)"),
        *("https://", "https:///cart", "https://shop.example:0/", "https://shop.example:x/", "https://[::1/"),
        *("https://a@shop.example", "https://a:b@shop.example", "https://shop.example@evil.example/"),
        *(
            "https://shop.example/a b",
            "https://shop.example/\n",
            'https://shop.example/"',
            "https://x.example/<",
        ),
        *(
            "https://shöp.example",
            "https://shop.example;script-src/",
            "https://shop.example,b/",
            "https://*/",
        ),
        *("http://127.0.0.1.evil.example/", "http://localhost.evil.example/", 7, None, ["https://a.example"]),
        "https://shop.example/" + "a" * MAX_URL_LENGTH,
    ],
)
def test_anything_else_is_refused(url: object) -> None:
    """What is no page, could run as a script, is read in two ways, or would break a header."""
    with pytest.raises(ValueError):
        parse_page_url(url)
    with pytest.raises(ValueError):
        parse_support_url(url)


def test_a_password_in_an_address_is_not_repeated() -> None:
    """The message must not show it either."""
    with pytest.raises(ValueError, match="user name") as raised:
        parse_page_url("https://me:hunter2@shop.example/")
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("url", ["mailto:help@shop.example", "mailto:help@shop.example?subject=Order"])
def test_support_may_be_an_e_mail_address(url: str) -> None:
    """Help can be a page or a mailbox."""
    assert parse_support_url(url) == url


@pytest.mark.parametrize("url", ["mailto:", "mailto:help", "mailto:@b", "mailto:a@", "mailto:a@b c"])
def test_a_wrong_e_mail_address_is_refused(url: str) -> None:
    """An address has a name and a host."""
    with pytest.raises(ValueError):
        parse_support_url(url)


def test_parameters_are_appended_before_the_fragment() -> None:
    """The merchant's own query and fragment stay as they are."""
    more = {"payment_intent": "pi_1", "status": "succeeded"}
    told = "payment_intent=pi_1&status=succeeded"
    assert with_parameters("https://a.example/t", more) == f"https://a.example/t?{told}"
    assert with_parameters("https://a.example/t?x=%20y#z", more) == f"https://a.example/t?x=%20y&{told}#z"
    assert origin_of("https://a.example:8/t?x#z") == "https://a.example:8"

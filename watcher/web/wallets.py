"""Links that open a page in the browsers of wallets' apps.

They change with the wallets' releases, not with a shop: so they stand here and are no setting. A page cannot
tell which apps a phone has.
"""

from urllib.parse import quote

#: By the wallet's name; ``{url}`` is the page's address, percent-encoded, and ``{twice}`` that once more.
IN_APP_BROWSERS = {
    "Xverse": "https://connect.xverse.app/browser?url={url}",
    "Leather": "leather://browser?url={url}",
    "OKX Wallet": "https://web3.okx.com/download?deeplink=okx%3A%2F%2Fwallet%2Fdapp%2Furl%3FdappUrl%3D{twice}",
}


def in_app_links(url: str) -> dict[str, str]:
    """Return the link of each wallet that opens the page at ``url``."""
    encoded = quote(url, safe="")
    return {
        name: template.format(url=encoded, twice=quote(encoded, safe=""))
        for name, template in IN_APP_BROWSERS.items()
    }

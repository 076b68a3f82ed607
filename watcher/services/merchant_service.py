"""Services for merchants and their keys; for operators only."""

from notifier.events import rfc3339
from watcher.schemas import AddApiKey, ChangeMerchant, NewMerchant, Page, RotateKey, serialize
from watcher.services import api_keys, merchants
from watcher.services.context import Context, Document
from watcher.store.schema import merchant


class MerchantService(Context):
    """Merchants and their keys."""

    def add_merchant(self, request: NewMerchant) -> Document:
        """Add a merchant; return {merchant, api_key, …}."""
        row, key = merchants.add(self.connection, self.settings, request, now=self.now)
        return {"merchant": serialize.merchant(row), "api_key": key, "previous_keys_expire_at": None}

    def merchant_of(self, merchant_id: str) -> Document:
        """Return one merchant."""
        return serialize.merchant(merchants.find(self.connection, merchant_id))

    def merchants(self, page: Page) -> Document:
        """Return a page of merchants, newest first."""
        self.read_page(page, merchant.c.id, merchant.c.id)
        rows, following = merchants.page(self.connection, limit=page.limit, cursor=page.cursor)
        return {"data": [serialize.merchant(row) for row in rows], "next_cursor": following}

    def change_merchant(self, merchant_id: str, request: ChangeMerchant) -> Document:
        """Change what is given of a merchant, null back to the settings' default."""
        return serialize.merchant(
            merchants.change(self.connection, self.settings, merchant_id, request, now=self.now)
        )

    def rotate_merchant_key(self, merchant_id: str, request: RotateKey) -> Document:
        """Give a merchant a fresh key; the others end at once, or after ``overlap``.

        Return {merchant, api_key, previous_keys_expire_at}; the time is null when they ended at once.
        """
        seconds = request.overlap or 0.0
        key = merchants.rotate_key(self.connection, self.settings, merchant_id, self.now, seconds)
        until = api_keys.overlap_end(self.now, seconds)
        return {
            "merchant": self.merchant_of(merchant_id),
            "api_key": key,
            "previous_keys_expire_at": None if until is None else rfc3339(until),
        }

    def merchant_keys(self, merchant_id: str) -> Document:
        """Return all keys that a merchant has or had, newest first, without the keys themselves."""
        merchants.find(self.connection, merchant_id)
        rows = api_keys.of_merchant(self.connection, merchant_id)
        return {"data": [api_keys.document(row, now=self.now) for row in rows], "next_cursor": None}

    def add_merchant_key(self, merchant_id: str, request: AddApiKey) -> Document:
        """Give a merchant one more key; return {key, api_key}."""
        network = self.settings.network
        row, key = api_keys.add(self.connection, network, merchant_id, request, now=self.now)
        return {"key": api_keys.document(row, now=self.now), "api_key": key}

    def revoke_merchant_key(self, merchant_id: str, key_id: str) -> Document:
        """Make a key invalid at once and return it."""
        row = api_keys.revoke(self.connection, key_id, now=self.now, merchant_id=merchant_id)
        return api_keys.document(row, now=self.now)

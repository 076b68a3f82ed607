"""The routes of the API, each said once."""

from watcher.client.request import Listing, Route
from watcher.schemas import (
    ApiKey,
    ApiKeyPage,
    Delivery,
    DeliveryPage,
    Endpoint,
    EndpointPage,
    EndpointWithSecret,
    Event,
    EventPage,
    ListedDelivery,
    Merchant,
    MerchantPage,
    MerchantWithKey,
    NewApiKey,
    PaymentIntent,
    PaymentIntentList,
    PaymentIntentPage,
    PulledEvent,
    PulledEvents,
    Recovered,
    Redelivered,
    RemovedEndpoint,
    Replayed,
    ServerStatus,
    TestEvent,
    Transfer,
    TransferPage,
)

_INTENTS = "/v1/payment_intents"
CREATE_INTENT = Route("POST", _INTENTS, PaymentIntent)
CREATE_INTENTS = Route("POST", f"{_INTENTS}/bulk", PaymentIntentList)
INTENTS = Listing(_INTENTS, PaymentIntentPage, PaymentIntent)
INTENT = Route("GET", f"{_INTENTS}/{{}}", PaymentIntent)
CANCEL_INTENT = Route("POST", f"{_INTENTS}/{{}}/cancel", PaymentIntent)
MARK_INTENT = Route("POST", f"{_INTENTS}/{{}}/mark", PaymentIntent)
DISMISS_INTENT = Route("POST", f"{_INTENTS}/{{}}/dismiss", PaymentIntent)

_TRANSFERS = "/v1/transfers"
TRANSFERS = Listing(_TRANSFERS, TransferPage, Transfer)
TRANSFER = Route("GET", f"{_TRANSFERS}/{{}}", Transfer)
ASSIGN_TRANSFER = Route("POST", f"{_TRANSFERS}/{{}}/assign", Transfer)

_ENDPOINTS = "/v1/webhook_endpoints"
ADD_ENDPOINT = Route("POST", _ENDPOINTS, EndpointWithSecret)
ENDPOINTS = Listing(_ENDPOINTS, EndpointPage, Endpoint)
ENDPOINT = Route("GET", f"{_ENDPOINTS}/{{}}", Endpoint)
CHANGE_ENDPOINT = Route("PATCH", f"{_ENDPOINTS}/{{}}", Endpoint)
REMOVE_ENDPOINT = Route("DELETE", f"{_ENDPOINTS}/{{}}", RemovedEndpoint)
ROTATE_ENDPOINT_SECRET = Route("POST", f"{_ENDPOINTS}/{{}}/rotate_secret", EndpointWithSecret)
TEST_ENDPOINT = Route("POST", f"{_ENDPOINTS}/{{}}/test", TestEvent)
RECOVER_ENDPOINT = Route("POST", f"{_ENDPOINTS}/{{}}/recover", Recovered)
REPLAY_ENDPOINT = Route("POST", f"{_ENDPOINTS}/{{}}/replay", Replayed)

_DELIVERIES = "/v1/webhook_deliveries"
DELIVERIES = Listing(_DELIVERIES, DeliveryPage, ListedDelivery)
DELIVERY = Route("GET", f"{_DELIVERIES}/{{}}", Delivery)
RETRY_DELIVERY = Route("POST", f"{_DELIVERIES}/{{}}/retry", Delivery)
DISMISS_DELIVERY = Route("POST", f"{_DELIVERIES}/{{}}/dismiss", Delivery)

_EVENTS = "/v1/events"
EVENTS = Listing(_EVENTS, EventPage, Event)
PULL = Listing(_EVENTS, PulledEvents, PulledEvent)
EVENT = Route("GET", f"{_EVENTS}/{{}}", Event)
REDELIVER_EVENT = Route("POST", f"{_EVENTS}/{{}}/redeliver", Redelivered)

_MERCHANTS = "/v1/admin/merchants"
ADD_MERCHANT = Route("POST", _MERCHANTS, MerchantWithKey)
MERCHANTS = Listing(_MERCHANTS, MerchantPage, Merchant)
MERCHANT_OF = MERCHANT = Route("GET", f"{_MERCHANTS}/{{}}", Merchant)
CHANGE_MERCHANT = Route("PATCH", f"{_MERCHANTS}/{{}}", Merchant)
ROTATE_MERCHANT_KEY = Route("POST", f"{_MERCHANTS}/{{}}/rotate_key", MerchantWithKey)
MERCHANT_KEYS = Route("GET", f"{_MERCHANTS}/{{}}/keys", ApiKeyPage)
ADD_MERCHANT_KEY = Route("POST", f"{_MERCHANTS}/{{}}/keys", NewApiKey)
REVOKE_MERCHANT_KEY = Route("POST", f"{_MERCHANTS}/{{}}/keys/{{}}/revoke", ApiKey)

STATUS = Route("GET", "/v1/status", ServerStatus)

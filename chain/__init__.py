"""The Stacks chain: codecs, blocks, the API client, the pool of sources, the header window, the follower.

Independent of the database, intents and webhooks; imports none of our other packages.
"""

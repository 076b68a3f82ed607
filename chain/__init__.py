"""Stacks as data: codecs, blocks, the API client, the pool of sources, the header window, the follower.

Knows no database, no intent and no webhook. Imports nothing of ours.
"""

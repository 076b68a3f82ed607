"""Payments: asset ids per network, and the readers that turn transactions into payments and attempts.

Pure: no I/O, no clock. Imports only ``chain``'s data and codecs.
"""

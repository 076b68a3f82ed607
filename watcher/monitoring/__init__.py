"""Metrics, liveness, and the service manager."""

"""Measurements that are too long for the tests; each is a module that prints what docs/performance.md shows."""

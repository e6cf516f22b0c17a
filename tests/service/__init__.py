"""Tests of the service in depth: run inside a default bake by `tests/test_service_in_depth.py`."""

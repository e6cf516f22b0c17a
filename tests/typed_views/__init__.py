"""Tests of the library `typed_views`, against its sources."""

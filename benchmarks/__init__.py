"""Measures the template's serving engine and its peers: one run, one machine, the same work."""

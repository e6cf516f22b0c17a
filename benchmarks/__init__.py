"""Measures the template's serving engine beside its peers: one run, one machine, the same work."""

"""The same service for every peer, in plain words of each framework."""

"""The same service for every peer, in plain code of each framework."""

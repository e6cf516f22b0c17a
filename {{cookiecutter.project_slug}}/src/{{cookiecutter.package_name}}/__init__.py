"""The service; README.md says what it does and where things are."""

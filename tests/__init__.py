"""Tests of the template: bake it, read it, run it, serve it."""

"""The tests of the library `upstreams`, run against its sources without a bake."""

"""When Python's collector of cyclic garbage runs, set for a server with many requests in flight."""

import gc

# How many more container objects have to be made than freed before the collector looks at the
# young ones. By default it is 700, some ten requests in flight, although nearly all that a request
# makes is freed without the collector when the request ends.
YOUNG_OBJECTS = 50_000


def spare_requests() -> None:
    """Let collections come seldom, and leave out all that exists now; for the end of start-up.

    What start-up has made stays for good. Frozen, it is no part of the full collections, each of
    which would stop the loop for some 15 ms; 3 ms are left.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])

"""Python's garbage collector in processes that handle many records."""

import gc

# Records make no reference cycles. A collection at every 700 new objects, Python's default, is a
# fifth of a tracker's work and an eighth of the console's first load, and finds nothing. One at
# every 20,000 is still 6 % of a tracker's work; 50,000 objects are more than a batch holds.
_YOUNG = 50_000


def collect_rarely() -> None:
    """Keep the objects made so far: to collect over them repeatedly stops the loop for 0.1 s."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG)

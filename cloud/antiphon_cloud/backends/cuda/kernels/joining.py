"""How programs that share an output find out which of them is done last, and so has all that the others left."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def is_last_of(programs, counter):
    """Whether this program is the last of so many that count here; it leaves the counter at 0, for the next kernel.

    What the others wrote before is then in memory, past the caches of this multiprocessor (`cache_modifier=".cg"`).
    """
    tl.debug_barrier()  # all threads' sums are written before the count says so
    arrived = tl.atomic_add(counter, 1, sem="acq_rel", scope="gpu")
    last = arrived == programs - 1
    if last:
        tl.store(counter, 0)
    return last

"""The shell: watches fill a store, one loop ticks each service when it is due, and what a tick
decided is written.

All I/O of the operator happens here; what is decided, and what objects look like, comes from the
pure packages below.
"""

"""Sets up all that the cluster needs: packages, binaries, images. `make install` runs it.

Each step knows its key and does nothing when its result is in the cache. Nothing here relies on
more than `apt-get`, `go` and `pip` as the machine has them configured.
"""

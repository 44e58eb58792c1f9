"""A real model server for tests: vLLM on the CPU with a tiny reasoning model.

`install` makes it once, in the project's cache; `server` runs it on loopback. It serves no words
worth reading: what is real is the scheduler, the KV cache, the HTTP server and their timing.
"""

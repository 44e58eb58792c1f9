"""A model server without a GPU: real HTTP, three dialects, timing from `fleet`."""

"""A model server without a GPU: real HTTP, vLLM's dialect, timing from `fleet`."""

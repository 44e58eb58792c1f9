"""The sweep on a real engine: vLLM on the CPU with a tiny model that reasons in its thoughts.

`python -m e2e.sweep` sweeps it by prefix reuse, then by forced runs through the gateway, and
compares the verdicts one by one.
"""

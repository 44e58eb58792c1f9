"""Thinkscale: SLO-aware autoscaling of reasoning models, by thinking-phase queue depth and tail
latency.

The packages are layers (CONTRIBUTING has the map); imports only point downwards, and import-linter
keeps it so.
"""

__version__ = "0.1.0"

"""Rendering: resource + decision → Kubernetes objects as plain dicts. No I/O."""

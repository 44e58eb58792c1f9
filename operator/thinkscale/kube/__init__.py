"""The only package that talks to the Kubernetes API: plain dicts, server-side apply."""

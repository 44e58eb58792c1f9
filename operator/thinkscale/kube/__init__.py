"""The one package that talks to the Kubernetes API: a thin async client over plain dicts, and
watches that survive everything.

It knows kinds and verbs, nothing of what the objects mean.
"""

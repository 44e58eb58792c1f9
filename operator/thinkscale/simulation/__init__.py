"""Fleets of reasoning models in virtual time: workloads, replicas, policies, an oracle.

The law that runs here is the operator's own `decide`, fed through the same `/signals` schema, and
the gateway's admission, queue and brown-out are the same pure functions. Needs the extra `report`
(numpy). Nothing here knows Kubernetes, the network or a real clock.
"""

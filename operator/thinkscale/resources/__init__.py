"""From a ReasoningService to the Kubernetes objects that serve it, as plain dicts. Pure: no I/O, no
clock.

The gateway's objects (`gateway`), the model's (`workload`, `model_pods`) and the runtime ConfigMap
(`runtime`) are independent of each other; the controller applies them in a safe order.
"""

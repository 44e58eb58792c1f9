"""The replica performance model: step time, KV cache, batching, preemption, cold start. One model
for emulator, simulator and law.
"""

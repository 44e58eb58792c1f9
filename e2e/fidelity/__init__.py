"""How true the simulator is: a real engine and the emulator beside it, under the same requests.

`python -m e2e.fidelity` (docs/fidelity.md) learns the engine's step time from its own metrics, runs
it open loop through a calm and a saturating phase, and compares what the client saw with what the
simulation says of the same arrivals and lengths.
"""

"""What the gateway holds on a real model server, cell by cell: engine, budget, spelling, streaming.

`python -m e2e.engines.conformance` runs the cells and the known traps and writes their results;
`table` makes docs/conformance.md from them.
"""

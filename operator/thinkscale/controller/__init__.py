"""The operator's shell: kopf registrations, store, one control loop, apply, status, events."""

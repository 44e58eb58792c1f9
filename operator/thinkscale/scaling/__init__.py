"""The control law, pure: `decide(spec, observation, state, now) -> Decision`."""

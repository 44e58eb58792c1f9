"""The words that every part shares: readings, signals, observation, intent, decision, directive.

Nothing here knows Kubernetes, a clock or the network. Durations are seconds unless a name says
otherwise.
"""

"""What each model server speaks: arguments, probes, drain, metric names, request dialect, native
budgets.
"""

"""The data plane: sees thinking and answering, forces budgets, routes, reports `/signals`."""

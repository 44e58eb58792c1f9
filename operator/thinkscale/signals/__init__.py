"""Sources of observations: gateways' `/signals` → typed readings with an age."""

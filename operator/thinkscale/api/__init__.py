"""The resource as users write it: names, pydantic models, the CRD made from them, conditions."""

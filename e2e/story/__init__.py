"""The story a person sees: recorded traffic, a live view, a summary with plots, and the headline.

Everything here stands outside the product and looks at it as a user does: through the OpenAI API
with its own clock, and through `kubectl`. It never asks the product how well the product did.
"""

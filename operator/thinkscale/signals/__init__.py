"""Where observations of traffic come from: the gateways' `/signals`, merged exactly, with an age.

It knows nothing of the law that will use them.
"""

"""Ids of the tiny model's special tokens; `tiny_model`, which the engine's own Python runs, makes
them in this order.
"""

END_OF_TEXT, START, END, OPEN, CLOSE = range(5)

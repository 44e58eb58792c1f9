"""What thinking buys: an evaluation set asked at several budgets, and what follows from it.

Rows, graders, plans, statistics and reports are pure; `endpoint`, `runner`, `external` and
`journal` are the shell around them. It knows any endpoint with OpenAI's API, and neither fleet nor
law: what a budget costs in latency and GPUs is put beside it by the command line.
"""

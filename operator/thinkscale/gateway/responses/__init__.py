"""OpenAI's Responses API (`/v1/responses`), carried by the chat route.

A request is translated into a chat request and the chat stream back into response events, so
budgets, queueing, routing, resuming and counting hold without knowing of it. Model servers speak
the Responses API too, but none continues a cut thought there, and what they store is lost with a
replica. Nothing is stored here: a conversation is sent whole.
"""

from thinkscale.gateway.responses.client import PATH, accept

__all__ = ["PATH", "accept"]

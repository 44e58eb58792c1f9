"""All that one request is served with, and what is made of it when it is about to be sent.

`prepare` decides the budget once the replica is known: what the engine can hold by itself, and how
its tags are spelled, is the replica's own affair.

Values that are made for every request before its first byte are named tuples here and next door: a
frozen dataclass of ten fields takes some microseconds more.
"""

from typing import NamedTuple

from thinkscale.engines.dialect import Dialect, Reader, Tags
from thinkscale.gateway.booking import Booking
from thinkscale.gateway.budget import BudgetMachine
from thinkscale.gateway.client import Client
from thinkscale.gateway.exchange import Exchange
from thinkscale.gateway.gateway import Gateway
from thinkscale.gateway.line import Line
from thinkscale.gateway.plan import BudgetPlan, plan_budget
from thinkscale.gateway.request import ClientRequest
from thinkscale.gateway.routing import Replica
from thinkscale.gateway.upstream import Upstream
from thinkscale.gateway.verify import Standing
from thinkscale.gateway.witness import Witness
from thinkscale.model.gateway_config import GatewayConfig


class Serving(NamedTuple):
    """One request, and who has to do with it."""

    gateway: Gateway
    upstream: Upstream
    dialect: Dialect
    config: GatewayConfig
    request: ClientRequest
    client: Client
    line: Line
    booking: Booking
    witness: Witness


class Preparation(NamedTuple):
    """A request as it goes to a replica from its beginning."""

    plan: BudgetPlan
    tags: Tags
    reader: Reader

    def exchange(self, serving: Serving, budget: BudgetMachine) -> Exchange:
        """What follows its stream. `budget`: the machine of the plan."""
        serving.client.expect(self.tags, opened=self.reader.opened)
        return Exchange(
            serving.request,
            budget,
            self.tags,
            model=serving.config.model,
            stops_when_exhausted=serving.config.on_exhausted == "Stop",
            keeps_ids=self.plan.forceable,
            reader=self.reader,
        )

    def answer_headers(
        self, request: ClientRequest, replica: Replica, resumes: int = 0
    ) -> dict[str, str]:
        """What the client is told about its request. `resumes`: replicas that went on with it."""
        told = {**headers_before(request), **self.plan.headers()}
        if resumes:
            told["x-thinkscale-resumed"] = str(resumes)
        return {**told, "x-thinkscale-replica": replica.name}


def headers_before(request: ClientRequest) -> dict[str, str]:
    """What a client can be told before a replica has its request."""
    told = request.grant.headers()
    if request.stripped:
        told["x-thinkscale-stripped"] = ", ".join(request.stripped)
    return told


async def prepare(serving: Serving, replica: Replica) -> Preparation:
    """Decide the budget, now that the request is about to be sent."""
    request, config, dialect = serving.request, serving.config, serving.dialect
    tags = Tags()
    if request.streamable:
        book = serving.upstream.tag_book
        known = book.known(replica.name, config.nudge)
        tags = known or await book.tags(replica, dialect, config.model, config.nudge)
    reader = dialect.reader(request.route, request.body, tags)
    trusted = dialect.has_native_budget
    standing = serving.witness.standing(replica.name) if trusted else Standing.ABSENT
    plan = plan_budget(request, config, reader.tags, standing=standing)
    serving.booking.planned(plan.limit)
    if plan.native is not None:
        serving.witness.sends(replica.name)
    return Preparation(plan=plan, tags=tags, reader=reader)

"""A thin async client of the Kubernetes API: plain dicts in, plain dicts out, errors of our tree.

It sits on the official package's `ApiClient` (which brings credentials, token refresh and TLS) and
leaves its typed models alone: they refuse unknown fields, cost memory, and add nothing to a dict
that the API server validates anyway. Every request has a deadline of its own, because the package's
default is five minutes.

Writing is server-side apply by one field manager, forced: a controller owns what it states.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio import config as kube_config
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration

from thinkscale.api import names
from thinkscale.errors import ApiConflict, ApiError, ApiNotFound, ApiUnavailable
from thinkscale.kube.resources import Resource

Object = dict[str, Any]
"""A Kubernetes object, as JSON says it."""

APPLY: Final = "application/apply-patch+yaml"
MERGE_PATCH: Final = "application/merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"

REQUEST_TIMEOUT: Final = aiohttp.ClientTimeout(total=15, sock_connect=5)
PAGE_SIZE: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """All objects at one instant. From a watch: forget what you knew, this is what there is."""

    items: tuple[Object, ...]
    resource_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """One object was added, modified or deleted since."""

    type: str
    """ADDED | MODIFIED | DELETED."""
    object: Object


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """How to reach the API server and who we are, for another client of the same process."""

    server: str
    ca_path: str | None
    ca_data: str | None
    certificate_path: str | None
    private_key_path: str | None
    token: str | None
    insecure: bool


def error_of(status: int, reason: str, body: str) -> ApiError:
    """The error of our tree that a response of this status means; the API's own words in it."""
    try:
        told = json.loads(body)
        message = str(told["message"])
        reason = str(told.get("reason") or reason)
    except (ValueError, KeyError, TypeError):
        message = body.strip()[:500] or reason
    kind: type[ApiError] = ApiError
    if status == 404:
        kind = ApiNotFound
    elif status == 409:
        kind = ApiConflict
    elif status == 429 or status >= 500:
        kind = ApiUnavailable
    return kind(message, status=status, reason=reason)


def said(error: Exception) -> str:
    """What an error says, or its kind if it says nothing (time-outs do not)."""
    return str(error) or type(error).__name__


def query(**parameters: str | int | bool | None) -> str:
    given = {
        key: str(value).lower() if isinstance(value, bool) else value
        for key, value in parameters.items()
        if value is not None and value != ""
    }
    return f"?{urlencode(given)}" if given else ""


class KubeClient:
    """Verbs over plain dicts. An async context manager; usable by many tasks at once."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._api: ApiClient | None = None

    @classmethod
    def from_environment(cls) -> Self:
        """A client for the cluster of `KUBECONFIG` if that is set, else of the pod it runs in, else
        of ~/.kube/config. Credentials are read on entering the context, not here.
        """
        return cls(Configuration())

    async def __aenter__(self) -> Self:
        if self._configuration.host in ("http://localhost", ""):
            await _load_credentials(self._configuration)
        self._configuration.connection_pool_maxsize = 0  # watches hold a connection each: no limit
        self._api = ApiClient(self._configuration)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._api is not None:
            api, self._api = self._api, None
            await api.rest_client.close()

    async def credentials(self) -> Credentials:
        """The credentials in force now (tokens are read again when they are due).

        Raises ApiUnavailable if they cannot be read just now.
        """
        settings = await self._authorization()
        configuration: Any = self._configuration
        values = [str(setting["value"]) for setting in settings.values()]
        return Credentials(
            server=configuration.host,
            ca_path=configuration.ssl_ca_cert,
            ca_data=configuration.ca_cert_data,
            certificate_path=configuration.cert_file,
            private_key_path=configuration.key_file,
            token=values[0].partition(" ")[2].strip() if values else None,
            insecure=not configuration.verify_ssl,
        )

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | Sequence[Any] | None = None,
        content_type: str = "application/json",
        timeout: aiohttp.ClientTimeout = REQUEST_TIMEOUT,  # noqa: ASYNC109 - aiohttp enforces it
    ) -> Object:
        """One request, read to its end.

        Raises ApiNotFound (404), ApiConflict (409), ApiUnavailable (429, 5xx, no answer in time or
        none that is JSON, no credentials just now), ApiError (any other refusal).
        """
        response = await self.open(
            method, path, body=body, content_type=content_type, timeout=timeout
        )
        try:
            async with response:
                raw = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiUnavailable(f"{method} {path}: {said(error)}") from error
        try:
            answer: Object = json.loads(raw)
        except ValueError as error:
            raise ApiUnavailable(f"{method} {path}: not JSON: {raw[:100]!r}") from error
        return answer

    async def _authorization(self) -> dict[str, Any]:
        """Headers that say who we are; tokens that are due are read again.

        Raises ApiUnavailable if they cannot be just now: a file that is being replaced, a plugin
        that fails.
        """
        try:
            settings: Any = await self._configuration.auth_settings()
        except (kube_config.ConfigException, OSError, ValueError) as error:
            raise ApiUnavailable(f"credentials cannot be read: {said(error)}") from error
        return dict(settings)

    async def open(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | Sequence[Any] | None = None,
        content_type: str = "application/json",
        timeout: aiohttp.ClientTimeout = REQUEST_TIMEOUT,  # noqa: ASYNC109 - aiohttp enforces it
    ) -> aiohttp.ClientResponse:
        """Send a request and return the response of a 2xx, its body unread; raises as `request`."""
        if self._api is None:
            raise RuntimeError("KubeClient is used outside its context")
        headers = {"Accept": "application/json", "Content-Type": content_type}
        settings = await self._authorization()
        for setting in settings.values():
            headers[setting["key"]] = setting["value"]
        send: Any = self._api.rest_client.request
        try:
            answer = await send(
                method,
                self._configuration.host + path,
                headers=headers,
                body=body,
                _request_timeout=timeout,
            )
            response: aiohttp.ClientResponse = answer.response
            if response.status < 400:
                return response
            async with response:
                text = await response.text()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiUnavailable(f"{method} {path}: {said(error)}") from error
        raise error_of(response.status, response.reason or "", text)

    async def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """One object."""
        return await self.request("GET", resource.path(namespace, name))

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> Listed:
        """All objects that match, read in pages; each says its own apiVersion and kind."""
        items: list[Object] = []
        token: str | None = None
        while True:
            page = await self.request(
                "GET",
                resource.path(namespace)
                + query(
                    labelSelector=label_selector,
                    fieldSelector=field_selector,
                    limit=PAGE_SIZE,
                    **{"continue": token},
                ),
            )
            # NB: the items of a list carry no apiVersion and kind.
            head = {"apiVersion": resource.api_version, "kind": resource.kind}
            try:
                items += [head | item for item in page.get("items") or ()]
                token = page["metadata"].get("continue") or None
                version = str(page["metadata"]["resourceVersion"])
            except (AttributeError, KeyError, TypeError) as error:
                raise ApiUnavailable(f"list of {resource.plural}: no list: {error!r}") from error
            if token is None:
                return Listed(items=tuple(items), resource_version=version)

    async def apply(
        self,
        resource: Resource,
        intended: Mapping[str, Any],
        *,
        field_manager: str = names.FIELD_MANAGER,
        subresource: str = "",
    ) -> Object:
        """Server-side apply, forced: afterwards every stated field is as stated and ours."""
        metadata = intended["metadata"]
        return await self.request(
            "PATCH",
            resource.path(metadata.get("namespace"), metadata["name"], subresource)
            + query(fieldManager=field_manager, force=True),
            body=intended,
            content_type=APPLY,
        )

    async def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        patch: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        subresource: str = "",
    ) -> Object:
        """A merge patch (a mapping) or a JSON patch (a list of operations)."""
        return await self.request(
            "PATCH",
            resource.path(namespace, name, subresource) + query(fieldManager=names.FIELD_MANAGER),
            body=patch,
            content_type=MERGE_PATCH if isinstance(patch, Mapping) else JSON_PATCH,
        )

    async def create(self, resource: Resource, new: Mapping[str, Any]) -> Object:
        """Create an object (events; everything else is applied)."""
        return await self.request(
            "POST",
            resource.path(new["metadata"]["namespace"]) + query(fieldManager=names.FIELD_MANAGER),
            body=new,
        )

    def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncIterator[Listed | Changed]:
        """What there is, then what changes, for ever; see `thinkscale.kube.watching`."""
        from thinkscale.kube.watching import Watch  # a watch is a user of this client

        watch = Watch(
            self,
            resource,
            namespace,
            label_selector=label_selector,
            field_selector=field_selector,
        )
        return watch.events()


async def _load_credentials(configuration: Configuration) -> None:
    """KUBECONFIG, else the pod's service account, else ~/.kube/config.

    Raises ApiError if none of them can be used.
    """
    path = os.environ.get("KUBECONFIG")
    try:
        if not path and os.environ.get("KUBERNETES_SERVICE_HOST"):
            await asyncio.to_thread(kube_config.load_incluster_config, configuration)
        else:
            load: Any = kube_config.load_kube_config
            await load(config_file=path, client_configuration=configuration)
    except kube_config.ConfigException as error:
        raise ApiError(f"no usable credentials for a Kubernetes cluster: {error}") from error

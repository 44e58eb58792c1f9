"""Engines behind TLS: asked under their own name, if a trusted authority vouches for them."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from e2e.harness.pki import Authority
from thinkscale.gateway import engine_http
from thinkscale.gateway.engine_http import EngineHttp, Unconnected


@pytest.fixture(name="port")
async def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """A server that has a certificate for `localhost`, of an authority that this process trusts."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        await writer.drain()
        writer.close()

    authority = Authority(tmp_path, "authority", "tests")
    pair = authority.issue("engine", "engine", dns=["localhost"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    engine_http._tls.cache_clear()
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    yield server.sockets[0].getsockname()[1]
    engine_http._tls.cache_clear()
    server.close()
    await server.wait_closed()


async def test_an_engine_is_asked_under_the_name_of_its_certificate(port: int) -> None:
    client = EngineHttp()
    response = await client.post(f"https://localhost:{port}/v1/x", b"", {})
    assert (response.status, await response.readany()) == (200, b"ok")
    client.close()


async def test_an_engine_whose_certificate_has_another_name_is_not_asked(port: int) -> None:
    with pytest.raises(Unconnected, match="CERTIFICATE_VERIFY_FAILED"):
        await EngineHttp().post(f"https://127.0.0.1:{port}/v1/x", b"", {})


async def test_an_engine_that_no_trusted_authority_knows_is_not_asked(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(Unconnected, match="CERTIFICATE_VERIFY_FAILED"):
        await EngineHttp().post(f"https://localhost:{port}/v1/x", b"", {})

"""An app that readings are posted to: keeps requests, answers what the test wants."""

import asyncio
import ssl

from aiohttp import web

from tests.servers.process import free_port


class Received:
    """One request that was not a repetition."""

    def __init__(self, request, body):
        self.method = request.method
        self.path = request.rel_url.raw_path_qs
        self.headers = request.headers
        self.body = body
        self.connection = request.transport


class Receiver:
    """A real HTTP server. Like an app should, it takes each Idempotency-Key once.

    Attributes:
        requests: What it has taken.
        seen: How many requests came, whatever became of them.
        answer: Called with each request and its body; gives a response, or None for 204.
    """

    def __init__(self, certificates=None):
        self.port = free_port()
        self.requests = []
        self.seen = 0
        self.answer = None
        self._keys = set()
        self._runner = None
        self._tls = None
        if certificates is not None:
            self._tls = ssl.create_default_context(
                ssl.Purpose.CLIENT_AUTH, cafile=certificates.authority
            )
            self._tls.load_cert_chain(certificates.server, certificates.server_key)
            self._tls.verify_mode = ssl.CERT_REQUIRED

    @property
    def url(self):
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    async def start(self):
        if self._runner is not None:
            return
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{path:.*}", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)
        await self._runner.setup()
        site = web.TCPSite(
            self._runner, "127.0.0.1", self.port, ssl_context=self._tls, reuse_address=True
        )
        await site.start()

    async def kill(self):
        if self._runner is None:
            return
        runner, self._runner = self._runner, None
        for connection in list(runner.server.connections):
            if connection.transport is not None:
                connection.transport.abort()
        await runner.cleanup()

    async def __aenter__(self):
        await self.start()
        return self

    async def __aexit__(self, *_):
        await self.kill()

    async def _take(self, request):
        self.seen += 1
        body = await request.read()
        response = self.answer(request, body) if self.answer is not None else None
        if asyncio.iscoroutine(response):
            response = await response
        if response is not None and not 200 <= response.status < 300:
            return response
        key = request.headers.get("Idempotency-Key")
        if key not in self._keys:
            self._keys.add(key)
            self.requests.append(Received(request, body))
        return response or web.Response(status=204)

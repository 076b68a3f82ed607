"""Payers of the benchmark of the tip, as a process: ``python -m benchmarks.streams URL N TOKEN…``.

Opens N live streams of checkouts, 20 of each address (the daemon believes a near proxy that names them),
prints a line when each has had its first event, and reads until it is ended.
"""

import asyncio
import resource
import sys
from urllib.parse import urlsplit

#: Streams that are opened together, and of one address.
TOGETHER, OF_ADDRESS = 20, 20


async def listen(host: str, port: int, token: str, address: str, opened: asyncio.Semaphore) -> None:
    """Read a stream to its end; ``opened`` is released at its first event."""
    reader, writer = await asyncio.open_connection(host, port)
    request = (f"GET /v1/checkout/{token}/events HTTP/1.1", f"Host: {host}", f"X-Forwarded-For: {address}")
    writer.write(("\r\n".join(request) + "\r\n\r\n").encode())
    await writer.drain()
    first = True
    while line := await reader.readline():
        if first and line.startswith(b"data:"):
            first = False
            opened.release()
    sys.exit("a stream was closed")


async def main(url: str, streams: int, tokens: list[str]) -> None:
    """Open the streams, say so, and read."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    opened = asyncio.Semaphore(0)
    async with asyncio.TaskGroup() as tasks:
        for number in range(streams):
            address = f"203.0.113.{number // OF_ADDRESS}"
            token = tokens[number % len(tokens)]
            tasks.create_task(listen(parts.hostname, parts.port, token, address, opened))
            if number % TOGETHER == TOGETHER - 1:
                for _ in range(TOGETHER):
                    await opened.acquire()
        for _ in range(streams % TOGETHER):
            await opened.acquire()
        sys.stdout.write("open\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))

"""Passes connections on from an address of this machine to servers of its loopback interface.

Run by itself: `python relay.py RANGE ADDRESS:PORT=HOST:PORT ...`. Who connects from outside of the
range is turned away.
"""

import asyncio
import contextlib
import ipaddress
import sys

_BUFFER = 65536


async def main(allowed: str, pairs: list[str]) -> None:
    """Listen at the first of each pair; connect to the second.

    Args:
        allowed: range of the addresses that may connect.
        pairs: each `ADDRESS:PORT=HOST:PORT`.
    """
    network = ipaddress.ip_network(allowed)
    servers = []
    for pair in pairs:
        listen, _, target = pair.partition("=")
        address, _, port = listen.rpartition(":")

        async def serve(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: str = target
        ) -> None:
            if ipaddress.ip_address(writer.get_extra_info("peername")[0]) in network:
                await _relay(reader, writer, target)
            writer.close()

        servers.append(await asyncio.start_server(serve, address, int(port)))
    await asyncio.gather(*(server.serve_forever() for server in servers))


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: str) -> None:
    host, _, port = target.rpartition(":")
    try:
        answers, asks = await asyncio.open_connection(host.strip("[]"), int(port))
    except OSError:
        return
    await asyncio.gather(_pass_on(reader, asks), _pass_on(answers, writer))
    asks.close()


async def _pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await source.read(_BUFFER):
            target.write(chunk)
            await target.drain()
    with contextlib.suppress(OSError):
        target.write_eof()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))

# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A far away libvirt: passes on a unix socket to another, each piece half of a round trip later.

delay.py LISTEN TARGET SECONDS     SECONDS is the whole round trip's
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def far_away(uri: str, path: Path, round_trip: float) -> Iterator[str]:
    """The URI of the libvirt of that URI, by a unix socket, so many seconds away: it listens at `path` meanwhile."""
    path.unlink(missing_ok=True)
    words = [sys.executable, __file__, str(path), uri.partition("socket=")[2], str(round_trip)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as proxy:
        try:
            if proxy.stdout:
                proxy.stdout.readline()  # it listens
            yield f"qemu+unix:///system?socket={path}"
        finally:
            proxy.terminate()


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    """Keeps the order and the pace; what is under way does not hold up what comes after it."""
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def deliver() -> None:
        while True:
            due, piece = await pieces.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            if not piece:
                writer.close()
                return
            writer.write(piece)

    delivering = asyncio.create_task(deliver())
    with suppress(ConnectionError):
        while piece := await reader.read(1 << 18):
            pieces.put_nowait((loop.time() + delay, piece))
    pieces.put_nowait((loop.time() + delay, b""))
    await delivering


async def main(listen: str, target: str, round_trip: float) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_unix_connection(target)
        await asyncio.gather(
            carry(reader, far_writer, round_trip / 2), carry(far_reader, writer, round_trip / 2), return_exceptions=True
        )

    async with await asyncio.start_unix_server(connected, listen) as server:
        print("ready", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))

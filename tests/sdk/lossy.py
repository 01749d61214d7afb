"""A UDP relay between a caller and the server that behaves like a bad network: it loses, delays, reorders and repeats, by a seed.

A caller reaches the server through it when the port in the server's answer is exchanged for the relay's.
"""

import asyncio
import random


class Relay(asyncio.DatagramProtocol):
    """The side that faces the caller. Each of its addresses has a way to the server of its own."""

    def __init__(self, server, seed, loss=0.0, jitter=0.0, repeated=0.0):
        self.server, self.chance = server, random.Random(seed)
        self.loss, self.jitter, self.repeated = loss, jitter, repeated
        self.ways, self.facing = {}, None
        self.passed = self.lost = 0

    def connection_made(self, transport):
        self.facing = transport

    def datagram_received(self, data, caller):
        asyncio.ensure_future(self.forward(data, caller))

    async def forward(self, data, caller):
        way = self.ways.get(caller)
        if way is None:
            opening = asyncio.get_running_loop().create_datagram_endpoint(lambda: Back(self, caller), remote_addr=self.server)
            way = self.ways[caller] = asyncio.ensure_future(opening)
        transport, _ = await asyncio.shield(way)
        self.carry(lambda: transport.sendto(data))

    def carry(self, send):
        loop = asyncio.get_running_loop()
        for _ in range(2 if self.chance.random() < self.repeated else 1):
            if self.chance.random() < self.loss:
                self.lost += 1
            else:
                self.passed += 1
                # Packets overtake each other where the delay differs by more than the 20 ms between them.
                loop.call_later(self.chance.uniform(0, self.jitter), send)

    def move(self):
        """From now on the server sees other addresses, and hears nothing more from those before; the caller notices nothing."""
        self.ways.clear()


class Back(asyncio.DatagramProtocol):
    def __init__(self, relay, caller):
        self.relay, self.caller = relay, caller
        self.own = None

    def connection_made(self, transport):
        self.own = transport

    def datagram_received(self, data, _):
        way = self.relay.ways.get(self.caller)
        # What still comes to an address that was left is lost.
        if way is not None and way.done() and way.result()[0] is self.own:
            self.relay.carry(lambda: self.relay.facing.sendto(data, self.caller))


async def relay(server, seed=1, **behaviour):
    """The relay, and its port."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(lambda: Relay(server, seed, **behaviour), local_addr=("127.0.0.1", 0))
    return protocol, transport.get_extra_info("sockname")[1]

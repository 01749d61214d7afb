// A way for UDP packets between a page and a server, on which an address may change and everything may be lost, as in networks.

import { createSocket } from 'node:dgram';

const UDP = /^a=candidate:\S+ 1 udp \d+ (\S+) (\d+) typ host.*$/im;
/** A socket that keeps no test from ending. */
const udp = () => createSocket('udp4').unref();
const bound = (socket) => new Promise((ready) => socket.bind(0, '127.0.0.1', ready));

export class Way {
  #front = udp();
  #backs = new Map();
  #open = true;

  /** The answer `sdp` as it is when the server is behind this way and has no other. */
  async lead(sdp) {
    const [candidate, address, port] = UDP.exec(sdp);
    await bound(this.#front);
    this.#front.on('message', async (packet, page) => (await this.#back(page, address, Number(port))).send(packet));
    const own = candidate.replace(` ${address} ${port} `, ` 127.0.0.1 ${this.#front.address().port} `);
    return sdp.replace(/^a=candidate:.*\r\n/gm, (line) => (line.startsWith(candidate) ? `${own}\r\n` : ''));
  }

  /** The side that faces the server, for one address of the page. */
  #back(page, address, port) {
    const name = `${page.address}:${page.port}`;
    if (!this.#backs.has(name)) {
      const socket = udp();
      const back = { close: () => socket.close(), send: (packet) => this.#open && socket.send(packet, port, address) };
      socket.on('message', (packet) => this.#open && this.#front.send(packet, page.port, page.address));
      this.#backs.set(name, bound(socket).then(() => back));
    }
    return this.#backs.get(name);
  }

  /** From now on the server sees the page at other addresses, and reaches it no more at those before. */
  async move() {
    const before = [...this.#backs.values()];
    this.#backs.clear();
    for (const back of before) (await back).close();
  }

  /** From now on everything is lost. Nobody is told. */
  cut() {
    this.#open = false;
  }

  async close() {
    this.cut();
    this.#front.close();
    await this.move();
  }
}

/** The answer `sdp` as it is where no UDP gets through. */
export const overTcp = (sdp) => sdp.replace(/^a=candidate:\S+ \d+ udp .*\r\n/gim, '');

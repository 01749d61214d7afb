"""Calls by aiortc over networks that are not a laboratory's: packets get lost, addresses hide and change, UDP goes through a relay.

Needs what test_webrtc.py needs; the call through TURN also needs `turnserver` (coturn), and the server that TIMBRE_TURN_SECRET is its secret.
"""

import asyncio
import audioop
import io
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import urllib.error
import urllib.request
import wave

import pytest
from aiortc import RTCConfiguration, RTCIceServer, RTCIceTransportPolicy, RTCSessionDescription

from aiortc.codecs.opus import OpusDecoder
from aiortc.jitterbuffer import JitterFrame

from lossy import relay
from caller import RECORDING, URL, speech
from test_webrtc import Caller, converse

pytestmark = pytest.mark.skipif(not (URL and RECORDING), reason="no server with real models (TIMBRE_REALTIME_URL, TIMBRE_RECORDING)")
SESSION = {"type": "realtime", "model": "gpt-realtime", "instructions": "Answer in one short sentence."}
CANDIDATE = re.compile(r"^a=candidate:\S+ 1 udp \d+ (\S+) (\d+) typ host.*$", re.M)


def words(text):
    return re.sub(r"[^a-z ]", "", text.lower()).split()


def through(relays, **behaviour):
    """Exchanges the server's address in its answer for a relay's, which is appended to `relays`."""

    async def inward(answer):
        address, port = CANDIDATE.search(answer).groups()
        protocol, own = await relay((address, int(port)), **behaviour)
        relays.append(protocol)
        # The TCP candidate would be a way round it.
        lines = [line for line in answer.splitlines() if " tcp " not in line]
        return "\r\n".join(lines).replace(f" {address} {port} typ", f" 127.0.0.1 {own} typ") + "\r\n"

    return inward


def transcribed(pcm, rate, channels):
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(audioop.tomono(bytes(pcm), 2, 0.5, 0.5) if channels == 2 else bytes(pcm))
    boundary = "sound"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
    head += f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n'
    body = head.encode() + file.getvalue() + f"\r\n--{boundary}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}", "Authorization": "Bearer none"}
    with urllib.request.urlopen(urllib.request.Request(URL + "/audio/transcriptions", body, headers)) as answer:
        return json.loads(answer.read())["text"]


class Listener:
    """Decodes what arrives at a caller as a poor client does: packets in order, and silence for those that are lost.

    aiortc's own receiver throws sound away around each loss; browsers conceal it, and are better than this.
    """

    def __init__(self, caller):
        self.packets = {}
        [receiver] = caller.connection.getReceivers()
        usual = receiver._handle_rtp_packet

        async def handle(packet, arrival_time_ms):
            if packet.payload:
                self.packets[packet.sequence_number] = packet.payload
            await usual(packet, arrival_time_ms)

        receiver._handle_rtp_packet = handle

    def sound(self):
        """PCM16 at 48 kHz, two channels."""
        decoder, pcm = OpusDecoder(), bytearray()
        for number in range(min(self.packets), max(self.packets) + 1):
            if number in self.packets:
                [frame] = decoder.decode(JitterFrame(data=self.packets[number], timestamp=number * 960))
                pcm += bytes(frame.planes[0])[: frame.samples * 4]
            else:
                pcm += bytes(960 * 4)
        return pcm


def test_both_sides_are_understood_over_a_bad_network():
    relays = []

    async def script(caller):
        caller.say(type="session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": None}}})
        await caller.until("session.updated")
        caller.microphone.waiting += speech(7.0)
        await asyncio.sleep(8.0)
        caller.say(type="input_audio_buffer.commit")
        heard = await caller.until("conversation.item.input_audio_transcription.completed")
        said = "ever tried ever failed no matter try again".split()
        right = sum(word in words(heard["transcript"]) for word in said)
        assert right >= len(said) - 2, heard["transcript"]
        listener = Listener(caller)
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Tell me a long story about the sea."}]}
        caller.say(type="response.create", response={"conversation": "none", "input": [item], "max_output_tokens": 40})
        done = (await caller.until("response.done"))["response"]
        await caller.until("output_audio_buffer.stopped")
        await asyncio.sleep(0.5)
        spoken = words(done["output"][0]["content"][0]["transcript"])
        assert len(spoken) > 8
        understood = words(await asyncio.to_thread(transcribed, listener.sound(), 48_000, 2))
        right = sum(word in understood for word in spoken)
        assert right >= 0.7 * len(spoken), (spoken, understood)
        [network] = relays
        assert network.lost > 20, "the network was not bad"

    converse(script, SESSION, inward=through(relays, seed=7, loss=0.05, jitter=0.06, repeated=0.02))


def test_a_client_may_come_with_hidden_addresses_or_none():
    def hidden(sdp):
        return CANDIDATE.sub(r"a=candidate:1 1 udp 2113937151 3f1c9d1e-6f0a-4c57-9a7e-0d5f3b1c2a10.local \2 typ host", sdp)

    def none(sdp):
        return "".join(line for line in sdp.splitlines(True) if "candidate" not in line) + "a=ice-options:trickle\r\n"

    async def script(caller):
        caller.say(type="session.update", session={"type": "realtime", "instructions": "Be brief."})
        await caller.until("session.updated")

    for outward in [hidden, none]:
        converse(script, SESSION, outward=outward)


def test_a_call_goes_on_when_the_clients_address_changes():
    relays = []

    async def script(caller):
        [network] = relays
        caller.say(type="session.update", session={"type": "realtime", "instructions": "Be brief."})
        await caller.until("session.updated")
        network.move()
        # The next consent check shows where the client is now: aiortc sends one every five seconds.
        caller.say(type="session.update", session={"type": "realtime", "instructions": "Be briefer."})
        assert (await caller.until("session.updated", 20))["session"]["instructions"] == "Be briefer."

    converse(script, SESSION, inward=through(relays))


def part(fragment):
    return f"a=ice-ufrag:{fragment}\r\na=ice-pwd:0123456789012345678901\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n"


def patch(path, body, kind):
    address = URL.removesuffix("/v1") + path
    request = urllib.request.Request(address, body.encode(), {"Content-Type": kind, "Authorization": "Bearer none"}, method="PATCH")
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_ice_restarts_and_a_lost_connection_is_replaced():
    async def script(caller):
        caller.say(type="session.update", session={"type": "realtime", "instructions": "Remember me."})
        await caller.until("session.updated")
        own = re.search(r"a=ice-ufrag:(\S+)", caller.connection.localDescription.sdp)[1]
        kind = "application/trickle-ice-sdpfrag"
        assert (await asyncio.to_thread(patch, caller.location, part(own), kind))[0] == 204
        status, text = await asyncio.to_thread(patch, caller.location, part("anew"), kind)
        assert status == 200 and "a=ice-ufrag:" in text and "typ host" in text
        # The way in use holds until the client uses the new credentials.
        caller.say(type="session.update", session={"type": "realtime"})
        await caller.until("session.updated")
        assert (await asyncio.to_thread(patch, caller.location, "v=0", "text/plain"))[0] == 415
        assert (await asyncio.to_thread(patch, caller.location + "0", part("anew"), kind))[0] == 404
        again = Caller()
        try:
            await again.connection.setLocalDescription(await again.connection.createOffer())
            offer = again.connection.localDescription.sdp
            status, answer = await asyncio.to_thread(patch, caller.location, offer, "application/sdp")
            assert status == 200, answer
            await again.connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
            session = (await again.until("session.created", 20))["session"]
            assert session["instructions"] == "Remember me."
        finally:
            await again.hang_up()

    converse(script, SESSION)


@pytest.mark.skipif(not (shutil.which("turnserver") and os.environ.get("TIMBRE_TURN_SECRET")), reason="no turnserver (coturn)")
def test_a_call_goes_through_turn():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        secret = os.environ["TIMBRE_TURN_SECRET"]
        turn = ["turnserver", "-n", "--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", f"--listening-port={port}", "--use-auth-secret"]
        turn += [f"--static-auth-secret={secret}", "--realm=timbre", "--allow-loopback-peers", "--no-tls", "--no-dtls", "--no-cli"]
        turn += [f"--pidfile={folder}/pid", f"--userdb={folder}/db", "--log-file=stdout"]
        with open(f"{folder}/log", "w") as log, subprocess.Popen(turn, cwd=folder, stdout=log, stderr=log) as process:
            try:
                with urllib.request.urlopen(urllib.request.Request(URL + "/realtime/ice-servers", headers={"Authorization": "Bearer none"})) as answer:
                    told = json.loads(answer.read())
                [server] = [server for server in told["ice_servers"] if "credential" in server]
                assert told["ttl"] == 3600 and server["urls"] == ["turn:127.0.0.1:3478?transport=udp"]
                # The port is ours; all else is what the server told.
                url = f"turn:127.0.0.1:{port}?transport=udp"
                ice = RTCIceServer(urls=[url], username=server["username"], credential=server["credential"])

                configuration = RTCConfiguration(iceServers=[ice], iceTransportPolicy=RTCIceTransportPolicy.RELAY)

                def outward(sdp):
                    assert "typ relay" in sdp and "typ host" not in sdp, open(f"{folder}/log").read()
                    return sdp

                async def script(caller):
                    caller.say(type="session.update", session={"type": "realtime", "instructions": "Be brief."})
                    await caller.until("session.updated")

                converse(script, SESSION, configuration, outward=outward)
            finally:
                process.terminate()

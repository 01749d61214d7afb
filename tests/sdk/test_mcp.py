"""openai-python names an MCP server in its session: it understands every event of it, and what the model makes of what the tool said.

TIMBRE_REALTIME_URL is the server's base URL (ending in /v1), TIMBRE_MCP_URL and TIMBRE_MCP_TOKEN an MCP server with a tool `weather`; the
language model calls it when it reads "call weather".
"""

import asyncio
import os
import typing

import pytest
from openai import AsyncOpenAI
from openai.types.realtime import RealtimeServerEvent

from schema import judge_realtime

URL, TOOLS, TOKEN = (os.environ.get(name) for name in ("TIMBRE_REALTIME_URL", "TIMBRE_MCP_URL", "TIMBRE_MCP_TOKEN"))
pytestmark = pytest.mark.skipif(not (URL and TOOLS and TOKEN), reason="no server (TIMBRE_REALTIME_URL, TIMBRE_MCP_URL, TIMBRE_MCP_TOKEN)")
KNOWN = typing.get_args(typing.get_args(RealtimeServerEvent)[0])
TOOL = {"type": "mcp", "server_label": "home", "server_url": TOOLS, "authorization": TOKEN, "headers": {"x-team": "blue"}, "require_approval": "never"}


def test_openai_python_uses_a_tool_of_an_mcp_server():
    asyncio.run(asyncio.wait_for(conversation(), 60))


async def conversation():
    client = AsyncOpenAI(base_url=URL, websocket_base_url=URL.replace("http", "ws", 1), api_key="none")
    async with client.realtime.connect(model="gpt-realtime") as connection:
        events = []

        async def until(kind):
            async for event in connection:
                events.append(event)
                assert isinstance(event, KNOWN), event
                assert event.type != "error", event
                judge_realtime(event.to_dict())
                if event.type == kind:
                    return event

        await connection.session.update(session={"type": "realtime", "output_modalities": ["text"], "tools": [TOOL]})
        listed = (await until("mcp_list_tools.completed")).item_id
        [item] = [event.item for event in events if event.type == "conversation.item.done" and event.item.id == listed]
        assert "weather" in [tool.name for tool in item.tools]

        content = [{"type": "input_text", "text": "call weather"}]
        await connection.conversation.item.create(item={"type": "message", "role": "user", "content": content})
        await connection.response.create()
        called = (await until("response.mcp_call.completed")).item_id
        await connection.response.create()
        assert "sunny in Paris" in (await until("response.output_text.done")).text
        await until("response.done")
        [item] = [event.item for event in events if event.type == "conversation.item.done" and event.item.id == called]
        assert (item.type, item.name, item.output) == ("mcp_call", "weather", "sunny in Paris")
        kinds = [event.type for event in events]
        in_order = ["mcp_list_tools.in_progress", "mcp_list_tools.completed", "response.mcp_call_arguments.done", "response.mcp_call.in_progress"]
        places = [kinds.index(kind) for kind in [*in_order, "response.mcp_call.completed"]]
        assert places == sorted(places), kinds

"""Drives `kraft mcp` with the official SDK: PROGRAM KERNEL, in a private home."""

import asyncio
import json
import os
import sys

from mcp import ClientSession, StdioServerParameters, stdio_client

program, kernel = sys.argv[1:]


def text(result):
    return result.content[0].text if result.content else ""


async def served(*flags):
    """Returns what a server offers and says to calls."""
    server = StdioServerParameters(command=program, args=["mcp", *flags], env=dict(os.environ))
    async with stdio_client(server) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        await session.send_ping()
        tools = {tool.name: tool for tool in (await session.list_tools()).tools}
        yield session, tools


async def main():
    seen = {}
    async for session, tools in served():
        seen["reading"] = sorted(tools)
        seen["hints"] = all(tool.annotations.read_only_hint for tool in tools.values())
        seen["all"] = tools["ps"].input_schema["properties"]["all"]["type"]
        seen["none"] = json.loads(text(await session.call_tool("ps", {"all": True})))
        missing = await session.call_tool("logs", {"machines": ["absent"]})
        seen["missing"] = [missing.is_error, text(missing)]
        for name, arguments in [("stop", {}), ("ps", {"nothing": 1})]:
            try:
                await session.call_tool(name, arguments)
                seen[f"refused {name}"] = "it was not"
            except Exception as error:
                seen[f"refused {name}"] = str(error)
    async for session, tools in served("--allow-changes"):
        seen["changing"] = len(tools) > len(seen["reading"]) and not tools["stop"].annotations.read_only_hint
        run = {"name": "agent", "project": kernel, "args": ["--help", "b c"]}
        seen["run"] = text(await session.call_tool("run", run)).strip()
        seen["logs"] = ""
        for _ in range(600):
            if seen["logs"]:
                break
            await asyncio.sleep(0.1)
            seen["logs"] = text(await session.call_tool("logs", {"machines": ["agent"]}))
        # Both at once: neither waits for the other.
        listed, stopped = await asyncio.gather(
            session.call_tool("ps", {"all": True}), session.call_tool("stop", {"machines": ["agent"]})
        )
        seen["listed"] = [machine["name"] for machine in json.loads(text(listed))]
        seen["args"] = json.loads(text(await session.call_tool("inspect", {"machines": ["agent"]})))[0]["spec"]["args"]
        seen["removed"] = text(await session.call_tool("remove", {"machines": ["agent"]})).strip()
    print(json.dumps(seen))


asyncio.run(main())

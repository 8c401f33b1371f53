"""Drives `kraft lsp` with the client of pygls: PROGRAM KRAFTFILE [utf-8], in a private home."""

import asyncio
import json
import pathlib
import sys

from lsprotocol import types
from pygls.lsp.client import LanguageClient

program, kraftfile = sys.argv[1:3]
encodings = sys.argv[3:]
uri = pathlib.Path(kraftfile).as_uri()

# A key that has two units in UTF-16, and four bytes in UTF-8.
BROKEN = """spec: v0.6
nmae: web
targets: [qmeu/x86_64]
initrd: ./fs
labels: {"𝄞": a, "𝄞": b}
unikraft:
  source: ../../core
  kconfig:
    CONFIG_LIBNET: y
"""
OPEN = """spec: v0.6
name: web
targets:
- qemu/
unikraft:
  source: ../../core
  kconfig:
    CONFIG_LIBNET: y
    CONFIG_LIBNET_D
"""
SOUND = OPEN.replace("qemu/", "qemu/x86_64").replace("    CONFIG_LIBNET_D\n", "")


def position(text, word, behind=True):
    at = text.index(word) + (len(word) if behind else 0)
    line = text.count("\n", 0, at)
    before = text[text.rfind("\n", 0, at) + 1 : at]
    units = len(before.encode()) if encodings else len(before.encode("utf-16-le")) // 2
    return types.Position(line=line, character=units)


def applied(text, edit):
    """Returns a text after an edit in one line of ASCII characters."""
    lines = text.split("\n")
    start, end = edit.range.start, edit.range.end
    line = lines[start.line]
    lines[start.line] = line[: start.character] + edit.new_text + line[end.character :]
    return "\n".join(lines)


async def main():
    client = LanguageClient("test", "1")
    published = asyncio.Queue()

    @client.feature(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)
    def diagnostics(params):
        published.put_nowait(params)

    async def next_diagnostics():
        params = await asyncio.wait_for(published.get(), 60)
        assert params.uri == uri
        return params.diagnostics

    await client.start_io(program, "lsp", "--stdio")
    general = types.GeneralClientCapabilities(
        position_encodings=[types.PositionEncodingKind(e) for e in ["utf-16", *encodings]]
    )
    result = await client.initialize_async(
        types.InitializeParams(capabilities=types.ClientCapabilities(general=general))
    )
    client.initialized(types.InitializedParams())
    seen = {
        "broken": BROKEN,
        "name": result.server_info.name,
        "encoding": result.capabilities.position_encoding,
    }

    def change(text, version):
        client.text_document_did_change(
            types.DidChangeTextDocumentParams(
                text_document=types.VersionedTextDocumentIdentifier(uri=uri, version=version),
                content_changes=[types.TextDocumentContentChangeWholeDocument(text=text)],
            )
        )

    document = types.TextDocumentIdentifier(uri=uri)
    client.text_document_did_open(
        types.DidOpenTextDocumentParams(
            types.TextDocumentItem(uri=uri, language_id="kraftfile", version=1, text=BROKEN)
        )
    )
    found = await next_diagnostics()
    seen["diagnostics"] = [
        [
            d.message,
            d.severity,
            [d.range.start.line, d.range.start.character, d.range.end.character],
        ]
        for d in found
    ]
    whole = types.Range(types.Position(0, 0), types.Position(99, 0))
    actions = await client.text_document_code_action_async(
        types.CodeActionParams(
            text_document=document, range=whole, context=types.CodeActionContext(found)
        )
    )
    seen["fixes"] = [action.title for action in actions]
    fixed = BROKEN
    for action in actions:
        assert action.kind == types.CodeActionKind.QuickFix
        for edit in action.edit.changes[uri]:
            fixed = applied(fixed, edit)
    change(fixed, 2)
    seen["after fixes"] = [d.message for d in await next_diagnostics()]

    async def complete(word):
        answer = await client.text_document_completion_async(
            types.CompletionParams(text_document=document, position=position(text, word))
        )
        return answer.items if answer else []

    async def hover(word):
        answer = await client.text_document_hover_async(
            types.HoverParams(text_document=document, position=position(text, word, False))
        )
        return answer.contents.value

    # The sources are known since the text had no errors.
    text = SOUND
    change(text, 3)
    seen["sound"] = [d.message for d in await next_diagnostics()]
    text = OPEN
    change(text, 4)
    seen["open"] = len(await next_diagnostics()) > 0
    items = await complete("CONFIG_LIBNET_D")
    seen["options"] = [[i.label, i.detail, applied(text, i.text_edit)[-24:]] for i in items]
    seen["targets"] = [i.label for i in await complete("qemu/")]
    seen["option"] = await hover("CONFIG_LIBNET:")
    seen["key"] = await hover("targets")
    text = SOUND + "o"
    change(text, 5)
    await next_diagnostics()
    seen["keys"] = [[i.label, i.text_edit.new_text] for i in await complete("y\no")]

    client.text_document_did_close(types.DidCloseTextDocumentParams(text_document=document))
    seen["closed"] = list(await next_diagnostics())
    seen["after close"] = [i.label for i in await complete("spec")]
    await client.shutdown_async(None)
    client.exit(None)
    await asyncio.wait_for(client.stop(), 60)
    print(json.dumps(seen))


asyncio.run(main())

//! `kraft lsp`: a language server for Kraftfiles on stdin and stdout.
//!
//! It speaks the Language Server Protocol 3.17
//! (<https://microsoft.github.io/language-server-protocol/specifications/lsp/3.17/specification>). What it answers
//! is decided by [`kraft_engine::editor`]; in this directory it becomes JSON.
//!
//! ```text
//! frame ─ bytes ─► json_rpc ─ message ─► Server ─► kraft_engine::editor ─► answers
//! ```

mod answers;
mod frame;
mod position;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use kraft_core::kraftfile::FILE_NAMES;
use kraft_engine::editor::{Document, Editor};
use serde_json::{Value, json};

use crate::app::App;
use crate::commands::json_rpc::{self, INVALID_PARAMS, INVALID_REQUEST, Message, RpcError};
use crate::failure::{Failure, Kind};
use frame::Frame;
use position::{Encoding, Lines};

/// Serve diagnostics and completions for Kraftfiles to editors
///
/// Speaks the Language Server Protocol on stdin and stdout, for an editor that starts this command. Nothing is
/// fetched, built or run.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Example:
  kraft lsp")]
pub(crate) struct Args {
    /// Use stdin and stdout: accepted because editors pass it
    #[arg(long)]
    stdio: bool,
}

/// The largest number of open documents.
const MOST_DOCUMENTS: usize = 64;
/// The code of a request before `initialize`.
const NOT_INITIALIZED: i32 = -32002;

pub(crate) fn exec(app: &App, _: &Args) -> Result<(), Failure> {
    let mut server = Server {
        app,
        editor: Editor::default(),
        documents: Documents::default(),
        encoding: Encoding::default(),
        stage: Stage::New,
    };
    let mut input = io::stdin().lock();
    loop {
        let unreadable = |error| {
            let text = format!("cannot read a message of the editor: {error}");
            Failure::new(Kind::Failed, text)
        };
        match frame::read(&mut input).map_err(unreadable)? {
            Frame::End => return Ok(()),
            Frame::TooLong => {
                let text = format!("a message is longer than {} bytes", frame::LONGEST);
                server.answer(&Value::Null, Err((INVALID_REQUEST, text)))?;
            }
            Frame::Body(bytes) => match Message::read(&bytes) {
                Message::Request(id, method, params) => {
                    let outcome = server.request(&method, &params);
                    server.answer(&id, outcome)?;
                }
                Message::Notification(method, _) if method == "exit" => return server.end(),
                Message::Notification(method, params) => server.notification(&method, params)?,
                Message::Answer => {}
                Message::Invalid(id, error) => server.answer(&id, Err(error))?,
            },
        }
    }
}

/// The stage of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    New,
    Initialized,
    Shutdown,
}

/// The open documents, by their URI.
#[derive(Default)]
struct Documents(BTreeMap<String, Document>);

struct Server<'a> {
    app: &'a App,
    editor: Editor,
    documents: Documents,
    encoding: Encoding,
    stage: Stage,
}

impl Server<'_> {
    fn request(&mut self, method: &str, params: &Value) -> Result<Value, RpcError> {
        match (self.stage, method) {
            (Stage::New, "initialize") => {
                self.stage = Stage::Initialized;
                Ok(self.initialize(params))
            }
            (Stage::New, _) => {
                let text = "the first request is `initialize`";
                Err((NOT_INITIALIZED, text.to_owned()))
            }
            (Stage::Initialized, "shutdown") => {
                self.stage = Stage::Shutdown;
                Ok(Value::Null)
            }
            (Stage::Shutdown, _) | (Stage::Initialized, "initialize") => {
                let text = format!("`{method}` is not valid at this time");
                Err((INVALID_REQUEST, text))
            }
            (Stage::Initialized, "textDocument/completion") => {
                let Some(document) = self.documents.of(params)? else {
                    return Ok(Value::Null);
                };
                let lines = Lines::of(document.text(), self.encoding);
                let found = self
                    .editor
                    .complete(self.app, document, position(&lines, params)?);
                Ok(found.map_or(Value::Null, |found| answers::completions(&lines, &found)))
            }
            (Stage::Initialized, "textDocument/hover") => {
                let Some(document) = self.documents.of(params)? else {
                    return Ok(Value::Null);
                };
                let lines = Lines::of(document.text(), self.encoding);
                let found = self.editor.hover(document, position(&lines, params)?);
                Ok(found.map_or(Value::Null, |found| answers::hover(&lines, &found)))
            }
            (Stage::Initialized, "textDocument/codeAction") => {
                let Some(document) = self.documents.of(params)? else {
                    return Ok(Value::Null);
                };
                let lines = Lines::of(document.text(), self.encoding);
                let end = |pointer| lines.byte(params.pointer(pointer)?);
                let (Some(start), Some(end)) = (end("/range/start"), end("/range/end")) else {
                    return Err(invalid("a range"));
                };
                let problems = document.problems();
                Ok(answers::fixes(
                    &lines,
                    uri_of(params)?,
                    problems,
                    start..=end,
                ))
            }
            (Stage::Initialized, _) => Err(json_rpc::no_method(method)),
        }
    }

    fn initialize(&mut self, params: &Value) -> Value {
        let offered = params.pointer("/capabilities/general/positionEncodings");
        let utf8 = Value::from(Encoding::Utf8.name());
        if offered
            .and_then(Value::as_array)
            .is_some_and(|all| all.contains(&utf8))
        {
            self.encoding = Encoding::Utf8;
        }
        json!({
            "capabilities": {
                "positionEncoding": self.encoding.name(),
                // Every change has the whole text: a Kraftfile is short.
                "textDocumentSync": { "openClose": true, "change": 1 },
                "completionProvider": { "triggerCharacters": [" ", "/"] },
                "hoverProvider": true,
                "codeActionProvider": { "codeActionKinds": ["quickfix"] },
            },
            "serverInfo": { "name": "kraft", "version": env!("CARGO_PKG_VERSION") },
        })
    }

    fn notification(&mut self, method: &str, mut params: Value) -> Result<(), Failure> {
        if self.stage != Stage::Initialized {
            return Ok(());
        }
        let mut of_document = json_rpc::take(&mut params, "textDocument");
        let Value::String(uri) = json_rpc::take(&mut of_document, "uri") else {
            return Ok(());
        };
        let text = match method {
            "textDocument/didOpen" if !is_kraftfile(&uri, &of_document) => return Ok(()),
            "textDocument/didOpen" => json_rpc::take(&mut of_document, "text"),
            // The last change has the newest text.
            "textDocument/didChange" if self.documents.0.contains_key(&uri) => {
                let changes = params.get_mut("contentChanges");
                let last = changes.and_then(|changes| changes.as_array_mut()?.last_mut());
                last.map_or(Value::Null, |change| json_rpc::take(change, "text"))
            }
            "textDocument/didClose" => {
                self.documents.0.remove(&uri);
                return self.publish(&uri, &json!([]));
            }
            _ => return Ok(()),
        };
        let Value::String(text) = text else {
            return Ok(());
        };
        let is_full = self.documents.0.len() >= MOST_DOCUMENTS;
        if let Some(document) = self.documents.0.get_mut(&uri) {
            document.replace(self.app, &text);
        } else if is_full {
            let text = format!("{MOST_DOCUMENTS} Kraftfiles are open: close another one");
            return self.publish(&uri, &json!([answers::unchecked(&text)]));
        } else {
            let document = Document::new(self.app, path(&uri).as_deref(), &text);
            self.documents.0.insert(uri.clone(), document);
        }
        let Some(document) = self.documents.0.get(&uri) else {
            return Ok(());
        };
        let lines = Lines::of(document.text(), self.encoding);
        let diagnostics = answers::diagnostics(&lines, &uri, document.problems());
        self.publish(&uri, &diagnostics)
    }

    /// Ends the session; an error if the client has not announced it.
    fn end(&self) -> Result<(), Failure> {
        if self.stage == Stage::Shutdown {
            return Ok(());
        }
        let text = "the editor ended the session without a `shutdown` request";
        Err(Failure::new(Kind::Failed, text))
    }

    fn publish(&self, uri: &str, diagnostics: &Value) -> Result<(), Failure> {
        self.send(&json!({
            "jsonrpc": "2.0",
            "method": "textDocument/publishDiagnostics",
            "params": { "uri": uri, "diagnostics": diagnostics },
        }))
    }

    fn answer(&self, id: &Value, outcome: Result<Value, RpcError>) -> Result<(), Failure> {
        self.send(&json_rpc::answer(id, outcome))
    }

    fn send(&self, message: &Value) -> Result<(), Failure> {
        self.app.ui.data(&frame::write(&message.to_string()))
    }
}

impl Documents {
    /// Returns the document of a request; `None` if it is not a Kraftfile.
    fn of(&self, params: &Value) -> Result<Option<&Document>, RpcError> {
        Ok(self.0.get(uri_of(params)?))
    }
}

fn uri_of(params: &Value) -> Result<&str, RpcError> {
    let uri = params.pointer("/textDocument/uri").and_then(Value::as_str);
    uri.ok_or_else(|| invalid("a document"))
}

/// Returns the byte that a request is about.
fn position(lines: &Lines<'_>, params: &Value) -> Result<usize, RpcError> {
    let at = params.get("position").and_then(|at| lines.byte(at));
    at.ok_or_else(|| invalid("a position"))
}

/// Returns whether a new document is a Kraftfile: editors may send every YAML file.
fn is_kraftfile(uri: &str, document: &Value) -> bool {
    let name = uri.rsplit('/').next().unwrap_or_default();
    document.get("languageId") == Some(&"kraftfile".into()) || FILE_NAMES.contains(&name)
}

fn invalid(what: &str) -> RpcError {
    (INVALID_PARAMS, format!("the request does not name {what}"))
}

/// Returns the path of a `file:` URI (RFC 8089) on this host.
fn path(uri: &str) -> Option<PathBuf> {
    let rest = uri.strip_prefix("file://")?;
    let rest = rest.strip_prefix("localhost").unwrap_or(rest);
    if !rest.starts_with('/') {
        return None;
    }
    let mut bytes = Vec::with_capacity(rest.len());
    let mut left = rest.bytes();
    while let Some(byte) = left.next() {
        let decoded = if byte == b'%' {
            let digits = [left.next()?, left.next()?];
            u8::from_str_radix(str::from_utf8(&digits).ok()?, 16).ok()?
        } else {
            byte
        };
        bytes.push(decoded);
    }
    let whole = !bytes.contains(&0);
    whole.then(|| PathBuf::from(OsString::from_vec(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_uris_of_files_have_a_path() {
        for (uri, expected) in [
            ("file:///a/b", Some("/a/b")),
            ("file:///a%20%C3%A9", Some("/a é")),
            ("file://localhost/a", Some("/a")),
            ("file://other/a", None),
            ("file:///a%2", None),
            ("file:///a%zz", None),
            ("file:///a%00", None),
            ("untitled:Untitled-1", None),
        ] {
            assert_eq!(path(uri), expected.map(PathBuf::from), "{uri}");
        }
    }
}

//! `kraft mcp`: a server of the Model Context Protocol on stdin and stdout.
//!
//! Each line is a message of JSON-RPC 2.0 (<https://modelcontextprotocol.io/specification/2025-06-18>). A call of
//! a tool runs kraft itself, in a thread of its own, so that the client is answered meanwhile.

mod tools;

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::app::App;
use crate::commands::json_rpc::{self, INVALID_PARAMS, INVALID_REQUEST, Message, RpcError};
use crate::failure::{Failure, Kind};
use crate::ui::Ui;
use tools::Tool;

/// Serve kraft to coding agents with the Model Context Protocol
///
/// Reads requests from stdin and answers on stdout, for a client that starts this command. Tools are commands
/// of kraft with their options. Without `--allow-changes`, only those that change nothing.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft mcp
  kraft mcp --allow-changes")]
pub(crate) struct Args {
    /// Also serve commands that build, package, run, stop and remove
    #[arg(long)]
    allow_changes: bool,
}

/// The versions of the protocol that differ in nothing that is used here, the newest first.
const VERSIONS: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];
/// The size of the longest message, in bytes.
const LONGEST: u64 = 4 << 20;
/// The number of calls at once.
const MOST_CALLS: usize = 8;

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let server = Server {
        tools: tools::all(args.allow_changes),
        ui: app.ui.clone(),
        calls: Arc::default(),
    };
    let unreadable = |error| {
        let text = format!("cannot read stdin: {error}");
        Failure::new(Kind::Failed, text)
    };
    let mut input = io::stdin().lock();
    loop {
        let mut line = Vec::new();
        let mut start = input.by_ref().take(LONGEST);
        start.read_until(b'\n', &mut line).map_err(unreadable)?;
        let is_whole = line.ends_with(b"\n") || start.limit() > 0;
        if line.is_empty() {
            return Ok(());
        } else if !is_whole {
            input.skip_until(b'\n').map_err(unreadable)?;
            let text = format!("a message is longer than {LONGEST} bytes");
            server.answer(&Value::Null, Err((INVALID_REQUEST, text)))?;
        } else if !line.trim_ascii().is_empty() {
            server.read(&line)?;
        }
    }
}

struct Server {
    tools: Vec<Tool>,
    ui: Ui,
    calls: Arc<AtomicUsize>,
}

impl Server {
    fn read(&self, line: &[u8]) -> Result<(), Failure> {
        let (id, method, params) = match Message::read(line) {
            Message::Request(id, method, params) => (id, method, params),
            Message::Invalid(id, error) => return self.answer(&id, Err(error)),
            Message::Notification(..) | Message::Answer => return Ok(()),
        };
        match method.as_str() {
            "initialize" => self.answer(&id, Ok(initialized(&params))),
            "ping" => self.answer(&id, Ok(json!({}))),
            "tools/list" => {
                let tools: Vec<Value> = self.tools.iter().map(Tool::described).collect();
                self.answer(&id, Ok(json!({ "tools": tools })))
            }
            "tools/call" => self.call(&id, &params),
            _ => self.answer(&id, Err(json_rpc::no_method(&method))),
        }
    }

    /// Starts a tool, which answers when it has ended.
    fn call(&self, id: &Value, params: &Value) -> Result<(), Failure> {
        let name = params["name"].as_str().unwrap_or_default();
        let tool = self.tools.iter().find(|tool| tool.name() == name);
        let argv = match tool.map(|tool| tool.argv(&params["arguments"])) {
            Some(Ok(argv)) => argv,
            Some(Err(why)) => return self.answer(id, Err((INVALID_PARAMS, why))),
            None => return self.answer(id, Err((INVALID_PARAMS, tools::missing(name)))),
        };
        if self.calls.fetch_add(1, Ordering::SeqCst) >= MOST_CALLS {
            self.calls.fetch_sub(1, Ordering::SeqCst);
            return self.answer(
                id,
                Ok(tools::refused(&format!("{MOST_CALLS} calls run already"))),
            );
        }
        let (id, ui, calls) = (id.clone(), self.ui.clone(), Arc::clone(&self.calls));
        thread::spawn(move || {
            let result = tools::run(argv);
            calls.fetch_sub(1, Ordering::SeqCst);
            // The client is gone if this fails, and with it stdin.
            let _ = answer(&ui, &id, Ok(result));
        });
        Ok(())
    }

    fn answer(&self, id: &Value, outcome: Result<Value, RpcError>) -> Result<(), Failure> {
        answer(&self.ui, id, outcome)
    }
}

/// Writes an answer, in one line and at once.
fn answer(ui: &Ui, id: &Value, outcome: Result<Value, RpcError>) -> Result<(), Failure> {
    ui.data(&format!("{}\n", json_rpc::answer(id, outcome)))
}

fn initialized(params: &Value) -> Value {
    let wanted = params["protocolVersion"].as_str();
    let version = VERSIONS.iter().find(|version| wanted == Some(version));
    json!({
        "protocolVersion": version.unwrap_or(&VERSIONS[0]),
        "capabilities": { "tools": {} },
        "serverInfo": { "name": "kraft", "version": env!("CARGO_PKG_VERSION") },
    })
}

//! `kraft lsp`, driven by a client of the Language Server Protocol for Python, and by garbage.

use std::io::Write;
use std::process::{Command, Stdio};

use kraft_e2e::harness::{Bench, Outcome, repository, skip, wrapped};
use kraft_e2e::python;
use kraft_e2e::source::workshop;
use serde_json::{Value, json};

const CLIENT: &str = "pygls==2.1.1";

#[test]
fn an_editor_shows_fixes_and_completes_a_kraftfile() {
    let Some(python) = python::with("pygls-2.1.1", &[CLIENT]) else {
        skip("a client of the Language Server Protocol: `python3 -m venv` and PyPI");
        return;
    };
    let bench = Bench::new();
    let app = workshop(&bench).join("apps/app-two-libs");
    let script = repository().join("testing/kraft-e2e/tests/build/lsp.py");
    for (encodings, label, key) in [
        (&[][..], [4, 9, 13], [4, 18, 22]),
        (&["utf-8"][..], [4, 9, 15], [4, 20, 26]),
    ] {
        let mut interpreter = Command::new(&python);
        interpreter.arg(&script);
        let kraft = bench.command([app.join("Kraftfile")]);
        let mut command = wrapped(interpreter, &kraft);
        command.args(encodings).env("PYTHONDONTWRITEBYTECODE", "1");
        let seen = Outcome::of(&mut command).success().stdout;
        let seen: Value = serde_json::from_str(&seen).unwrap();
        assert_eq!(seen["name"], "kraft");
        let encoding = encodings.first().unwrap_or(&"utf-16");
        assert_eq!(seen["encoding"], *encoding);

        // The same problems as `kraft check` reports, with their places.
        let diagnostics = seen["diagnostics"].as_array().unwrap();
        let places: Vec<&Value> = diagnostics.iter().map(|it| &it[2]).collect();
        let expected = [[1, 0, 4], [2, 10, 14], [3, 0, 6], label, key].map(|it| json!(it));
        assert_eq!(places, expected.iter().collect::<Vec<_>>());
        let severities: Vec<&Value> = diagnostics.iter().map(|it| &it[1]).collect();
        assert_eq!(severities, [2, 2, 2, 2, 1]);
        std::fs::write(
            bench.path().join("broken"),
            seen["broken"].as_str().unwrap(),
        )
        .unwrap();
        let check = bench.kraft(["check", "broken"]).exits(1);
        assert_eq!(
            check.stderr.matches("broken:").count(),
            diagnostics.len(),
            "{check:?}"
        );
        for diagnostic in diagnostics {
            let message = diagnostic[0].as_str().unwrap();
            let head = message.split(": ").next().unwrap();
            assert!(check.stderr.contains(head), "{head}: {check:?}");
        }

        let fixes = [
            "Replace by `name`",
            "Replace by `qemu`",
            "Replace by `rootfs`",
        ];
        assert_eq!(seen["fixes"], json!(fixes));
        let left: Vec<&Value> = diagnostics.iter().skip(3).map(|it| &it[0]).collect();
        assert_eq!(seen["after fixes"], json!(left));

        assert_eq!(seen["sound"], json!([]));
        assert_eq!(seen["open"], true);
        let option = json!([["CONFIG_LIBNET_DHCP", "DHCP", "   CONFIG_LIBNET_DHCP: \n"]]);
        assert_eq!(seen["options"], option);
        let targets = seen["targets"].as_array().unwrap();
        assert!(targets.contains(&json!("qemu/arm64")), "{targets:?}");
        let option = seen["option"].as_str().unwrap();
        assert!(
            option.starts_with("**CONFIG_LIBNET** (bool): net: a network"),
            "{option}"
        );
        assert!(option.contains("`lib/net/Config.uk:2`"), "{option}");
        let key = seen["key"].as_str().unwrap();
        assert!(key.starts_with("The build targets: "), "{key}");
        let keys = seen["keys"].as_array().unwrap();
        assert!(keys.contains(&json!(["outdir", "outdir: "])), "{keys:?}");
        assert!(!keys.contains(&json!(["spec", "spec: "])), "{keys:?}");

        assert_eq!(seen["closed"], json!([]));
        assert_eq!(seen["after close"], json!([]));
    }
}

/// Sends bytes to a server; returns its exit code, its messages and stderr.
fn served(bench: &Bench, input: &[u8]) -> (i32, Vec<Value>, String) {
    let mut child = bench
        .command(["lsp"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // The server ends before it has read everything if it cannot find the next message.
    let _ = stdin.write_all(input);
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let mut messages = Vec::new();
    let mut rest = output.stdout.as_slice();
    while !rest.is_empty() {
        let text = str::from_utf8(rest).unwrap();
        let (head, _) = text.split_once("\r\n\r\n").unwrap();
        let length: usize = head["Content-Length: ".len()..].parse().unwrap();
        let body = &rest[head.len() + 4..][..length];
        messages.push(serde_json::from_slice(body).unwrap());
        rest = &rest[head.len() + 4 + length..];
    }
    let stderr = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), messages, stderr)
}

fn framed(body: &str) -> Vec<u8> {
    format!("Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn request(id: u32, method: &str, params: &Value) -> Vec<u8> {
    let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
    framed(&message.to_string())
}

fn notification(method: &str, params: &Value) -> Vec<u8> {
    let message = json!({ "jsonrpc": "2.0", "method": method, "params": params });
    framed(&message.to_string())
}

#[test]
fn a_language_server_answers_whatever_it_is_sent() {
    let bench = Bench::new();
    let open = |uri: &str, text: &str| {
        let document = json!({ "uri": uri, "languageId": "kraftfile", "version": 1, "text": text });
        notification("textDocument/didOpen", &json!({ "textDocument": document }))
    };
    let at = |uri: &str, line: u64| {
        let position = json!({ "line": line, "character": 4_000_000_000_u64 });
        json!({ "textDocument": { "uri": uri }, "position": position })
    };
    let long = " ".repeat(9 << 20);
    let none = json!({});
    let other = json!({ "uri": "file:///x.yaml", "languageId": "yaml", "text": "a: [" });
    let mut input = [
        framed("no JSON"),
        framed("[]"),
        framed(""),
        framed(&long),
        framed(r#"{"id":7,"result":{}}"#),
        request(1, "textDocument/hover", &none),
        open("untitled:before", "spec: v0.6\n"),
        request(
            2,
            "initialize",
            &json!({ "capabilities": { "general": 3 } }),
        ),
        request(3, "initialize", &none),
        request(4, "workspace/symbol", &none),
        request(5, "textDocument/completion", &json!([1])),
        request(6, "textDocument/completion", &at("untitled:absent", 0)),
        notification("$/cancelRequest", &json!({ "id": 1 })),
        notification("textDocument/didOpen", &json!({ "textDocument": 3 })),
        notification("textDocument/didChange", &json!([1])),
        notification(
            "textDocument/didChange",
            &json!({ "textDocument": { "uri": "untitled:a" } }),
        ),
        notification("textDocument/didOpen", &json!({ "textDocument": other })),
        request(11, "textDocument/hover", &at("file:///x.yaml", 0)),
        // A Kraftfile of nothing but brackets and quotes, in a directory that does not exist.
        open(
            "file:///absent/%2e%2e/Kraftfile",
            &"[{\"'- &".repeat(30_000),
        ),
        request(
            7,
            "textDocument/completion",
            &at("file:///absent/%2e%2e/Kraftfile", 0),
        ),
        request(
            8,
            "textDocument/hover",
            &at("file:///absent/%2e%2e/Kraftfile", u64::MAX),
        ),
    ]
    .concat();
    for document in 0..70 {
        input.extend(open(&format!("untitled:{document}"), "spec: v0.6\n"));
    }
    input.extend(request(9, "shutdown", &Value::Null));
    input.extend(request(10, "textDocument/hover", &at("untitled:1", 0)));
    input.extend(notification("exit", &Value::Null));
    let (code, messages, stderr) = served(&bench, &input);
    assert_eq!((code, stderr.as_str()), (0, ""));
    let answers: Vec<Value> = messages
        .iter()
        .filter(|it| it.get("method").is_none())
        .map(|it| json!([it["id"], it["error"]["code"]]))
        .collect();
    assert_eq!(
        Value::Array(answers),
        json!([
            [null, -32700],
            [null, -32600],
            [null, -32700],
            [null, -32600],
            [1, -32002],
            [2, null],
            [3, -32600],
            [4, -32601],
            [5, -32602],
            [6, null],
            [11, null],
            [7, null],
            [8, null],
            [9, null],
            [10, -32600],
        ])
    );
    let published = messages
        .iter()
        .filter(|it| it["method"] == "textDocument/publishDiagnostics");
    assert_eq!(published.count(), 71);
    let refused = messages.iter().filter(|it| {
        let text = it["params"]["diagnostics"][0]["message"].as_str();
        text.is_some_and(|text| text.contains("64 Kraftfiles are open"))
    });
    assert_eq!(refused.count(), 7);
}

#[test]
fn a_language_server_ends_with_an_error_when_it_cannot_go_on() {
    let bench = Bench::new();
    for (input, says) in [
        (&b"{\"jsonrpc\":\"2.0\"}\n\n"[..], "no `Content-Length`"),
        (
            b"Content-Length: 9\r\n\r\n{}",
            "cannot read a message of the editor",
        ),
        (b"Content-Length: -3\r\n\r\n", "is not a number"),
        (&[b'x'; 9000], "too long"),
        (
            &framed(r#"{"method":"exit"}"#),
            "without a `shutdown` request",
        ),
    ] {
        let (code, messages, stderr) = served(&bench, input);
        assert_eq!((code, messages.len()), (1, 0), "{stderr}");
        assert!(stderr.contains(says), "{stderr}");
    }
    let (code, messages, _) = served(&bench, b"");
    assert_eq!((code, messages.len()), (0, 0));
}

//! `kraft mcp`, driven by the official SDK of the Model Context Protocol for Python.

use std::io::Write;
use std::process::Stdio;

use kraft_e2e::guest::mini;
use kraft_e2e::harness::{Bench, Outcome, repository, skip, wrapped};
use kraft_e2e::python;
use serde_json::{Value, json};

const SDK: &str = "mcp==2.3.0";

#[test]
fn a_coding_agent_runs_machines_with_the_official_sdk() {
    let Some(python) = python::with("mcp-2.3.0", &[SDK]) else {
        skip("the SDK of the Model Context Protocol: `python3 -m venv` and PyPI");
        return;
    };
    let bench = Bench::new();
    let script = repository().join("testing/kraft-e2e/tests/machines/coding_agent.py");
    let kernel = mini("x86_64");
    let mut interpreter = std::process::Command::new(python);
    interpreter.arg(script);
    let kraft = bench.command([kernel]);
    let mut command = wrapped(interpreter, &kraft);
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    let seen = Outcome::of(&mut command).success().stdout;
    let seen: Value = serde_json::from_str(&seen).unwrap();

    let names = ["check", "inspect", "logs", "pkg_inspect", "pkg_ls", "ps"];
    let reading = seen["reading"].as_array().unwrap();
    for name in names {
        assert!(reading.contains(&json!(name)), "{name}: {reading:?}");
    }
    assert_eq!(seen["hints"], true);
    assert_eq!(seen["all"], "boolean");
    assert_eq!(seen["none"], json!([]));
    assert_eq!(seen["missing"][0], true);
    let missing = seen["missing"][1].as_str().unwrap();
    assert!(missing.contains("no machine `absent`"), "{missing}");
    let stop = seen["refused stop"].as_str().unwrap();
    assert!(stop.contains("kraft mcp --allow-changes"), "{stop}");
    let ps = seen["refused ps"].as_str().unwrap();
    assert!(ps.contains("no argument `nothing`"), "{ps}");

    assert_eq!(seen["changing"], true);
    assert_eq!(seen["run"], "agent");
    assert_eq!(seen["listed"], json!(["agent"]));
    assert_eq!(seen["args"], json!(["--help", "b c"]));
    assert!(!seen["logs"].as_str().unwrap().is_empty());
    assert_eq!(seen["removed"], "agent");
    assert_eq!(bench.machine("agent"), None);
}

#[test]
fn a_server_answers_whatever_it_is_sent() {
    let bench = Bench::new();
    let mut child = bench
        .command(["mcp"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let long = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"{}"}}"#,
        "x".repeat(5 << 20)
    );
    let lines = [
        "no JSON",
        "[]",
        "{}",
        r#"{"jsonrpc":"2.0","id":7,"result":{}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
        r#"{"jsonrpc":"2.0","id":"two","method":"resources/list"}"#,
        r#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"ps","arguments":3}}"#,
        &long,
        r#"{"jsonrpc":"2.0","id":4,"method":"initialize","params":{"protocolVersion":"1999-01-01"}}"#,
    ];
    for line in lines {
        input.write_all(line.as_bytes()).unwrap();
        input.write_all(b"\n").unwrap();
    }
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let answers: Vec<Value> = serde_json::Deserializer::from_slice(&output.stdout)
        .into_iter()
        .collect::<Result<_, _>>()
        .unwrap();
    let short: Vec<Value> = answers
        .iter()
        .map(|it| {
            json!([
                it["id"],
                it["error"]["code"],
                it["result"]["protocolVersion"]
            ])
        })
        .collect();
    assert_eq!(
        Value::Array(short),
        json!([
            [null, -32700, null],
            [null, -32600, null],
            [null, -32600, null],
            ["two", -32601, null],
            [3, -32602, null],
            [null, -32600, null],
            [4, null, "2025-11-25"],
        ])
    );
}

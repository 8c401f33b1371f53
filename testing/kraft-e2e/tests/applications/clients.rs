//! The clients that drive the applications: of this host, and from the same packages.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kraft_e2e::harness::{Outcome, skip};

use crate::guest::{Done, Guest, PATIENCE, Server, ensure, root};

/// Sends bytes on a new connection, and returns what comes back until the server closes it or has
/// nothing more to say.
fn exchange(port: u16, request: &[u8]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(request)?;
    let mut bytes = vec![0; 4096];
    let length = stream.read(&mut bytes)?;
    bytes.truncate(length);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns whether a web server answers.
pub(crate) fn http_answers(port: u16) -> bool {
    exchange(port, b"GET / HTTP/1.0\r\n\r\n").is_ok_and(|text| text.contains(" 200 "))
}

/// Returns whether redis answers.
pub(crate) fn redis_answers(port: u16) -> bool {
    exchange(port, b"PING\r\n").is_ok_and(|text| text == "+PONG\r\n")
}

/// Returns whether memcached answers.
pub(crate) fn memcached_answers(port: u16) -> bool {
    exchange(port, b"version\r\n").is_ok_and(|text| text.starts_with("VERSION 1."))
}

/// Returns whether PostgreSQL accepts queries.
pub(crate) fn postgresql_answers(port: u16) -> bool {
    psql(port, "SELECT 1").is_ok_and(|text| text == "1\n")
}

/// Prepares a program of a root filesystem with the loader and the libraries in it, because its
/// package need not be installed here.
fn client(of: &str, program: &str) -> Done<Command> {
    let root = root("x86_64", of)
        .ok_or_else(|| format!("there is no x86_64/{of}: scripts/make-applications.sh {of}"))?;
    let mut command = Command::new(root.join("lib64/ld-linux-x86-64.so.2"));
    let libraries = format!(
        "{0}/lib/x86_64-linux-gnu:{0}/usr/lib/x86_64-linux-gnu",
        root.display()
    );
    command
        .args(["--library-path", &libraries])
        .arg(root.join(program));
    Ok(command)
}

/// Runs a client to its end, which must be good, and returns what it printed.
fn printed(command: &mut Command) -> Done<String> {
    let outcome = Outcome::within(PATIENCE, command);
    ensure(outcome.code == Some(0), || {
        let Outcome {
            code,
            command,
            stdout,
            stderr,
        } = &outcome;
        format!("{command}: {code:?}\n{stdout}{stderr}")
    })?;
    Ok(outcome.stdout)
}

/// Insists that a path of a web server gives a body, by curl.
fn page(server: &Server<'_>, path: &str, expected: &str) -> Done {
    let url = format!("http://127.0.0.1:{}{path}", server.port);
    let body = printed(Command::new("curl").args(["-sS", "--fail", "--max-time", "120", &url]))?;
    ensure(body == expected, || format!("{url}: {body}"))
}

/// Has `ab` request the first page, two at a time: QEMU's user network queues no more connections
/// than that, and the host may lose others. Many at once are in `connections.rs`.
fn load(server: &Server<'_>) -> Done {
    let url = format!("http://127.0.0.1:{}/", server.port);
    let report =
        printed(Command::new("ab").args(["-q", "-s", "120", "-n", "200", "-c", "2", &url]))?;
    ab_lost_none(&report, 200)
}

/// Insists that `ab` reports all requests as answered.
pub(crate) fn ab_lost_none(report: &str, requests: u32) -> Done {
    let field = |name: &str| {
        let line = report.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_whitespace().nth(2)?.parse::<u32>().ok())
    };
    let right = field("Complete requests:") == Some(requests)
        && field("Failed requests:") == Some(0)
        && !report.contains("Non-2xx");
    ensure(right, || report.to_owned())
}

/// Python's file server.
pub(crate) fn files(server: &Server<'_>) -> Done {
    page(server, "/hosts", "127.0.0.1 localhost\n::1 localhost\n")?;
    load(server)
}

pub(crate) fn perl(server: &Server<'_>) -> Done {
    page(server, "/", "hello from perl\n")?;
    load(server)
}

pub(crate) fn lua(server: &Server<'_>) -> Done {
    page(server, "/", "hello from lua\n")?;
    load(server)
}

/// Go's server, which is its own client as well.
pub(crate) fn go(server: &Server<'_>) -> Done {
    page(server, "/", "hello from go\n")?;
    page(server, "/fan", "50 right answers\n")?;
    load(server)
}

pub(crate) fn axum(server: &Server<'_>) -> Done {
    page(server, "/", "hello from axum\n")?;
    load(server)
}

pub(crate) fn nginx(server: &Server<'_>) -> Done {
    page(server, "/", "hello from nginx\n")?;
    load(server)
}

pub(crate) fn haproxy(server: &Server<'_>) -> Done {
    page(server, "/", "hello from haproxy\n")?;
    load(server)
}

pub(crate) fn node(server: &Server<'_>) -> Done {
    page(server, "/", "hello from node\n")?;
    page(server, "/worker", "42\n")?;
    page(server, "/child", "49\n")?;
    load(server)
}

pub(crate) fn ruby(server: &Server<'_>) -> Done {
    page(server, "/", "hello from ruby\n")?;
    page(server, "/threads", "385\n")?;
    page(server, "/child", "from a child\n")?;
    load(server)
}

pub(crate) fn php(server: &Server<'_>) -> Done {
    page(server, "/", "hello from php\n")?;
    page(server, "/json", "{\"squares\":[1,4,9,16,25]}\n")?;
    load(server)
}

pub(crate) fn java(server: &Server<'_>) -> Done {
    page(server, "/", "hello from java\n")?;
    load(server)
}

/// redis-benchmark, and redis-cli.
pub(crate) fn redis(server: &Server<'_>) -> Done {
    let port = server.port.to_string();
    let cli = |words: &[&str]| {
        printed(
            client("clients", "usr/bin/redis-cli")?
                .args(["-p", &port])
                .args(words),
        )
    };
    ensure(cli(&["set", "key", "some value"])? == "OK\n", || {
        "set".to_owned()
    })?;
    let mut benchmark = client("clients", "usr/bin/redis-benchmark")?;
    benchmark.args([
        "-p",
        &port,
        "-n",
        "1000",
        "-c",
        "2",
        "--csv",
        "-t",
        "ping,set,get,incr,lpush,lrange_100",
    ]);
    let report = printed(&mut benchmark)?;
    let tests = report.lines().filter(|line| line.starts_with('"')).skip(1);
    ensure(tests.count() >= 7, || report)?;
    let value = cli(&["get", "key"])?;
    ensure(value == "some value\n", || value)?;
    let saved = cli(&["bgrewriteaof"])?;
    ensure(saved.contains("started"), || saved)
}

/// The protocol test of libmemcached, and its load generator.
pub(crate) fn memcached(server: &Server<'_>) -> Done {
    let port = server.port.to_string();
    let mut capable = client("clients", "usr/bin/memccapable")?;
    let report = printed(capable.args(["-h", "127.0.0.1", "-p", &port, "-a"]))?;
    ensure(report.contains("All tests passed"), || report)?;
    let servers = format!("--servers=127.0.0.1:{port}");
    let mut slap = client("clients", "usr/bin/memcslap")?;
    let report = printed(slap.args([
        &servers,
        "--concurrency=2",
        "--execute-number=200",
        "--test=set",
    ]))?;
    ensure(report.contains("Time"), || report)
}

/// Runs a query, and returns its rows.
fn psql(port: u16, query: &str) -> Done<String> {
    let mut command = client("clients", "usr/lib/postgresql/15/bin/psql")?;
    command.args([
        "-X",
        "-q",
        "-A",
        "-t",
        "-v",
        "ON_ERROR_STOP=1",
        "-h",
        "127.0.0.1",
        "-U",
        "postgres",
    ]);
    command.args(["-p", &port.to_string(), "-c", query, "postgres"]);
    printed(command.env("PGCONNECT_TIMEOUT", "10"))
}

/// psql, over several connections.
pub(crate) fn postgresql(server: &Server<'_>) -> Done {
    let insert = "CREATE TABLE t(a int PRIMARY KEY, b text); \
                  INSERT INTO t SELECT g, 'x' || g FROM generate_series(1, 5000) g; \
                  SELECT count(*), sum(a) FROM t";
    let rows = psql(server.port, insert)?;
    ensure(rows == "5000|12502500\n", || rows)?;
    let refused = psql(server.port, "INSERT INTO t VALUES (1, 'again')")
        .err()
        .unwrap_or_default();
    ensure(refused.contains("duplicate key"), || refused)?;
    psql(server.port, "VACUUM t")?;
    let rows = psql(server.port, "SELECT b FROM t WHERE a = 4711")?;
    ensure(rows == "x4711\n", || rows)
}

/// SQLite on a volume: what the guest writes is a sound database on this host, and the next guest's.
pub(crate) fn sqlite_volume(guest: &Guest, program: &[&str]) -> Done {
    let data = guest.bench.path().join("data");
    std::fs::create_dir_all(&data).map_err(|e| e.to_string())?;
    let database = data.join("test.db");
    let _ = std::fs::remove_file(&database);
    let volume = format!("{}:/data", data.display());
    let all = |step: &'static str| [program, &[step]].concat();
    let first = guest.run(&["-v", &volume], &all(".read /srv/script.sql"))?;
    ensure(first.stdout == "delete\n0\n2000|2001000\n777\nok\n", || {
        first.stdout + &first.stderr
    })?;
    let next = guest.run(
        &["-v", &volume],
        &all("UPDATE t SET b = 'next' WHERE a <= 5"),
    )?;
    ensure(next.code == Some(0), || next.stdout + &next.stderr)?;
    let query = "PRAGMA integrity_check; SELECT count(*) FROM t WHERE b = 'next'";
    let rows = printed(
        client("sqlite", "usr/bin/sqlite3")?
            .arg(&database)
            .arg(query),
    )?;
    let left = journal_of(&database).exists();
    ensure(rows == "ok\n5\n" && !left, || rows)
}

fn journal_of(database: &Path) -> std::path::PathBuf {
    database.with_extension("db-journal")
}

/// curl in the guest: a server of this host by address, and one of the internet by name.
pub(crate) fn curl(guest: &Guest, program: &[&str]) -> Done {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|e| e.to_string())?;
    let port = listener.local_addr().map_err(|e| e.to_string())?.port();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut request = [0; 1024];
            let _ = client.read(&mut request);
            let body = "x".repeat(300_000);
            let _ = write!(client, "HTTP/1.0 200 OK\r\n\r\n{body}");
        }
    });
    let url = format!("http://10.0.2.2:{port}/");
    let format = ["-o", "/tmp/got", "-w", "%{http_code} %{size_download}\\n"];
    let fetch = |url: &str| {
        guest.run(
            &["-p", &unused_port()],
            &[program, &format, &[url]].concat(),
        )
    };
    let local = fetch(&url)?;
    ensure(local.stdout.starts_with("200 300000\n"), || {
        local.stdout + &local.stderr
    })?;
    let name = "http://deb.debian.org/debian/dists/bookworm/Release";
    let here = Outcome::within(
        PATIENCE,
        Command::new("curl").args(["-sSI", "--max-time", "30", name]),
    );
    if here.code != Some(0) {
        skip("curl by name: this host has no internet");
        return Ok(());
    }
    let remote = fetch(name)?;
    ensure(remote.stdout.starts_with("200 "), || {
        remote.stdout + &remote.stderr
    })?;
    let unknown = fetch("http://no-such-host.invalid/")?;
    ensure(unknown.stdout.contains("Could not resolve host"), || {
        unknown.stdout + &unknown.stderr
    })
}

/// A published port gives the machine its network.
fn unused_port() -> String {
    format!("127.0.0.1:{}:1", kraft_e2e::registry::free_port())
}

//! The built-in runtime: programs and Dockerfiles that name no other, without a network.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use kraft_e2e::harness::{Bench, eventually, has_builtin_runtime, skip};
use kraft_e2e::registry::free_port;

/// Prints its arguments and a variable, and ends with the status in another one.
const ARGUMENTS: &str = r#"
#include <stdio.h>
#include <stdlib.h>
int main(int count, char **words) {
    for (int i = 0; i < count; i++) printf("[%s]\n", words[i]);
    const char *status = getenv("STATUS"), *text = getenv("TEXT");
    printf("TEXT=%s\n", text ? text : "");
    return status ? atoi(status) : 7;
}
"#;

/// Answers HTTP requests on port 8080; `/quit` ends it with status 5.
const SERVER: &str = r#"
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
int main(void) {
    setvbuf(stdout, 0, _IONBF, 0);
    int server = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(8080)};
    if (bind(server, (void *)&any, sizeof any) || listen(server, 8)) return 1;
    printf("listening\n");
    for (int number = 1;; number++) {
        char request[4096] = {0};
        int client = accept(server, 0, 0);
        if (read(client, request, sizeof request - 1) < 0) return 2;
        dprintf(client, "HTTP/1.0 200 OK\r\n\r\nhello %d\n", number);
        close(client);
        if (strstr(request, "/quit")) return 5;
    }
}
"#;

/// Makes a home with a C program, without connections to registries; `None`, with a message, if the
/// built-in runtime or a compiler is missing.
pub(crate) fn with_program(text: &str) -> Option<(Bench, PathBuf)> {
    let bench = Bench::new().env("KRAFTKIT_OFFLINE", "true");
    let program = program(&bench, "gcc", &["-static"], "server", text)?;
    Some((bench, program))
}

/// Compiles a program; `None` (and said so) if that, or the runtime, is not here.
pub(crate) fn program(
    bench: &Bench,
    compiler: &str,
    flags: &[&str],
    name: &str,
    text: &str,
) -> Option<PathBuf> {
    if !has_builtin_runtime() {
        skip("the built-in runtime is not built: make runtime");
        return None;
    }
    let source = bench.path().join(format!("{name}.c"));
    let out = bench.path().join(name);
    fs::write(&source, text).unwrap();
    let mut compile = Command::new(compiler);
    compile.args(flags).arg("-o").args([&out, &source]);
    match compile.status() {
        Ok(status) => assert!(status.success(), "{compiler} {flags:?}"),
        Err(_) => {
            skip(&format!(
                "{compiler} is not installed: scripts/setup.sh test"
            ));
            return None;
        }
    }
    Some(out)
}

#[test]
fn a_program_gets_its_arguments_and_its_exit_status_is_that_of_kraft() {
    let bench = Bench::new().env("KRAFTKIT_OFFLINE", "true");
    for (name, flags) in [("static", &["-static"][..]), ("dynamic", &[])] {
        let Some(program) = program(&bench, "gcc", flags, name, ARGUMENTS) else {
            return;
        };
        let program = program.to_str().unwrap();
        let args = [
            "run", "--rm", "--env", "TEXT=x y", program, "a", "b c", "d\"e",
        ];
        let outcome = bench.kraft(args);
        let expected = format!("[/{name}]\n[a]\n[b c]\n[d\"e]\nTEXT=x y\n");
        assert_eq!(outcome.stdout.replace('\r', ""), expected);
        assert_eq!(outcome.code, Some(7), "{}", outcome.stderr);
        assert!(
            outcome
                .stderr
                .contains("running it on the built-in runtime"),
            "{}",
            outcome.stderr
        );
    }
    let program = bench.path().join("static");
    let program = program.to_str().unwrap();
    for status in [0, 1, 127, 128, 137, 255] {
        let variable = format!("STATUS={status}");
        let outcome = bench.kraft(["run", "--rm", "-e", &variable, program]);
        assert_eq!(outcome.code, Some(status), "{}", outcome.stderr);
    }
    let refused = bench.kraft(["run", "--cpus", "2", program]);
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("one CPU"), "{}", refused.stderr);
}

#[test]
fn a_program_for_arm64_runs_on_the_kernel_for_arm64() {
    let bench = Bench::new().env("KRAFTKIT_OFFLINE", "true");
    let compiler = "aarch64-linux-gnu-gcc";
    let Some(program) = program(&bench, compiler, &["-static"], "app", ARGUMENTS) else {
        return;
    };
    let outcome = bench.kraft(["run", "--rm", program.to_str().unwrap(), "a", "b c"]);
    let printed = outcome.stdout.replace('\r', "");
    assert!(printed.starts_with("[/app]\n[a]\n[b c]\n"), "{printed}");
    assert_eq!(outcome.code, Some(7), "{}", outcome.stderr);
}

/// Requests a path of the server; `None` if it does not answer.
pub(crate) fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    // In one piece: a small server answers what its first `read` returns.
    let request = format!("GET {path} HTTP/1.0\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    (!answer.is_empty()).then_some(answer)
}

/// Prints where it was started, and a file there.
const PLACE: &str = r#"
#include <stdio.h>
#include <unistd.h>
int main(void) {
    char place[4096], text[64] = "no file";
    FILE *file = fopen("note", "r");
    if (file) fgets(text, sizeof text, file);
    printf("%s in %s\n", text, getcwd(place, sizeof place));
}
"#;

#[test]
fn a_program_starts_in_the_working_directory_of_its_image() {
    let bench = Bench::new()
        .env("KRAFTKIT_OFFLINE", "true")
        .env("KRAFTKIT_BUILDER", "kraft");
    let Some(place) = program(&bench, "gcc", &["-static"], "place", PLACE) else {
        return;
    };
    let dir = bench.path().join("project");
    fs::create_dir(&dir).unwrap();
    fs::copy(&place, dir.join("place")).unwrap();
    let dockerfile = "FROM scratch\nWORKDIR \"/my app\"\nCOPY place .\nCOPY <<TEXT note\na note\nTEXT\nCMD [\"./place\"]\n";
    fs::write(dir.join("Dockerfile"), dockerfile).unwrap();
    bench.ok(["pkg", "--name", "a.example/place:1", "project"]);
    let place = place.to_str().unwrap();
    for (words, expected) in [
        (&["project"][..], "a note\n in /my app\n"),
        (&["a.example/place:1"], "a note\n in /my app\n"),
        (&["--workdir", "/", "a.example/place:1"], "no file in /\n"),
        (
            &["--workdir", "/made/for it", place],
            "no file in /made/for it\n",
        ),
        (&[place], "no file in /\n"),
    ] {
        let outcome = bench.kraft([&["run", "--rm"], words].concat()).success();
        assert_eq!(outcome.stdout.replace('\r', ""), expected, "{words:?}");
    }
    let outcome = bench.kraft(["run", "--rm", "--workdir", "/place", place]);
    assert_eq!(outcome.code, Some(126), "{}", outcome.stderr);
    let said = "cannot start in the directory /place: a part of its path is not a directory";
    assert!(outcome.stdout.contains(said), "{}", outcome.stdout);
}

#[test]
fn a_dockerfile_is_run_and_packaged_on_it_and_answers_http() {
    let bench = Bench::new()
        .env("KRAFTKIT_OFFLINE", "true")
        .env("KRAFTKIT_BUILDER", "kraft");
    let Some(server) = program(&bench, "gcc", &["-static"], "server", SERVER) else {
        return;
    };
    let dir = bench.path().join("web");
    fs::create_dir(&dir).unwrap();
    fs::rename(server, dir.join("server")).unwrap();
    let dockerfile = "FROM scratch\nCOPY server /bin/server\nCMD [\"server\"]\n";
    fs::write(dir.join("Dockerfile"), dockerfile).unwrap();
    bench.ok(["pkg", "--name", "a.example/web:1", "web"]);
    for target in ["web", "a.example/web:1"] {
        let port = free_port();
        let published = format!("127.0.0.1:{port}:8080");
        let name = bench.kraft(["run", "--detach", "--port", &published, target]);
        let name = name.success().stdout.trim().to_owned();
        let mut answer = None;
        eventually("the server answers", || {
            answer = get(port, "/");
            answer.is_some()
        });
        let answer = answer.unwrap();
        assert!(answer.ends_with("hello 1\n"), "{target}: {answer}");
        get(port, "/quit");
        let waited = bench.kraft(["wait", &name]);
        assert!(waited.stdout.contains('5'), "{target}: {}", waited.stdout);
        assert!(bench.ok(["logs", &name]).contains("listening"));
    }
    let listed = bench.ok(["pkg", "ls"]);
    assert!(listed.contains("kraft.local/runtime"), "{listed}");
    bench.ok(["store", "verify"]);
}

#[test]
fn the_kernel_names_the_runtime_and_the_choice_does_not_depend_on_the_network() {
    if !has_builtin_runtime() {
        return skip("the built-in runtime is not built: make runtime");
    }
    let bench = Bench::new().env("KRAFTKIT_BUILDER", "kraft");
    let dir = bench.path().join("app");
    fs::create_dir(&dir).unwrap();
    fs::write(
        dir.join("Dockerfile"),
        "FROM scratch\nCOPY Dockerfile /\nCMD [\"/x\"]\n",
    )
    .unwrap();
    let dry = |flags: &[&str]| {
        let args = ["run", "--dry-run", "-o", "json"].iter().chain(flags);
        bench.kraft(args.chain(&["app"]))
    };
    for flags in [&[][..], &["--offline"], &["--runtime", "builtin"]] {
        let outcome = dry(flags).success();
        assert!(
            outcome.stdout.contains("oci://kraft.local/runtime:"),
            "{flags:?}: {}",
            outcome.stdout
        );
    }
    let named = dry(&["--offline", "--runtime", "unikraft.org/base:latest"]);
    assert!(
        named.stderr.contains("--runtime builtin"),
        "{}",
        named.stderr
    );
    let set = bench.command(["--offline", "run", "--dry-run", "app"]);
    let mut set = set;
    set.env("KRAFTKIT_DEFAULT_RUNTIME", "unikraft.org/base:latest");
    let output = set.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("unikraft.org/base:latest"), "{stderr}");
}

#[test]
fn a_connection_waits_for_a_program_that_still_starts() {
    if !has_builtin_runtime() {
        return skip("the built-in runtime is not built: make runtime");
    }
    let bench = Bench::new();
    let port = free_port();
    let published = format!("127.0.0.1:{port}:8080");
    let run = [
        "run", "--detach", "--name", "web", "--port", &published, "--",
    ];
    let server = "sleep 1; exec httpd -f -p 8080";
    bench.ok(run
        .iter()
        .copied()
        .chain(["/bin/busybox", "sh", "-c", server]));
    // Before the guest has its address, and before it listens.
    for pause in [0, 300] {
        std::thread::sleep(Duration::from_millis(pause));
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1."), "{answer}");
    }
}

//! The catalog's `base`, which runs Linux programs, from the real sources of Unikraft: run where
//! `KRAFT_UNIKRAFT_SOURCES` names a directory that holds clones of `unikraft`, `app-elfloader`,
//! `lib-lwip`, `fork-lwip`, `lib-libelf` and `catalog`; skipped everywhere else.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use kraft_e2e::harness::{Bench, Outcome, eventually};
use kraft_e2e::registry::free_port;
use kraft_e2e::source::{kraft_in, write};
use kraft_e2e::unikraft::{KERNEL, adapt, base, build, sources, succeeds};

const BASE: &str = "unikraft.org/base:latest";

/// Compiles a Linux program that is all in one file.
fn program(dir: &Path, name: &str, text: &str) {
    write(&dir.join(format!("{name}.c")), text);
    let (source, out) = (dir.join(format!("{name}.c")), dir.join(name));
    succeeds(
        "gcc",
        &[
            "-O1",
            "-static-pie",
            "-o",
            out.to_str().unwrap(),
            source.to_str().unwrap(),
        ],
    );
}

const TELL: &str = r#"
#include <stdio.h>
#include <stdlib.h>
int main(int count, char **words)
{
	char line[64] = "";
	for (int at = 1; at < count; at++)
		printf("word %d <%s>\n", at, words[at]);
	printf("greeting <%s>\n", getenv("GREETING") ? getenv("GREETING") : "");
	FILE *in = fopen("/data/in", "r");
	if (in && fgets(line, sizeof(line), in)) {
		FILE *out = fopen("/data/out", "w");
		fprintf(out, "got %s", line);
		fclose(out);
	}
	puts("that is all");
	return fflush(stdout);
}
"#;

const SERVE: &str = r#"
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
int main(void)
{
	const char *answer = "HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nhello\n";
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(8080) };
	char asked[2048];
	int door = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(door, (void *)&at, sizeof(at)) || listen(door, 8))
		return 1;
	for (;;) {
		int guest = accept(door, NULL, NULL);
		if (read(guest, asked, sizeof(asked)) > 0)
			write(guest, answer, strlen(answer));
		close(guest);
	}
}
"#;

#[test]
fn the_catalogs_base_builds_and_runs_linux_programs() {
    let Some(sources) = sources() else { return };
    let bench = Bench::new().limit(Duration::from_mins(90));
    let project = base(&bench, &sources);
    builds_with_options_of_other_releases(&bench, &project);
    rebuilds_a_restored_source(&bench, &project);
    let _ = kraft_in(&bench, &project, &["pkg", "--name", BASE, "."]).success();

    let app = bench.path().join("app");
    program(&app, "tell", TELL);
    program(&app, "serve", SERVE);
    runs_the_command_of_a_dockerfile(&bench, &app);
    runs_a_program_with_arguments_and_a_volume(&bench, &app);
    answers_on_a_published_port(&bench, &app);
    warns_where_the_kernel_insists_on_a_network(&bench, &project, &app);
}

fn builds_with_options_of_other_releases(bench: &Bench, project: &Path) {
    let built = build(bench, project);
    for line in built
        .stderr
        .lines()
        .filter(|line| line.starts_with("warning:"))
    {
        let placed = line.contains("Kraftfile:") && line.ends_with(')');
        assert!(placed, "no place in `{line}`");
    }
    let again = build(bench, project);
    assert!(again.stderr.contains("nothing has changed"), "{again:?}");
}

fn rebuilds_a_restored_source(bench: &Bench, project: &Path) {
    let kernel = || std::fs::read(project.join(KERNEL)).unwrap();
    let (source, saved) = (
        bench.path().join("parts/app-elfloader/main.c"),
        bench.path().join("saved.c"),
    );
    let (from, to) = (source.to_str().unwrap(), saved.to_str().unwrap());
    succeeds("cp", &["-p", from, to]);
    let before = kernel();
    adapt(&source, &[("Program name missing", "There is no program")]);
    let _ = build(bench, project);
    assert_ne!(kernel(), before);
    succeeds("cp", &["-p", to, from]);
    let _ = build(bench, project);
    assert!(kernel() == before, "the kernel is not what it was");
}

/// Starts a machine; returns what kraft said.
fn start(bench: &Bench, dir: &Path, name: &str, words: &[&str]) -> Outcome {
    let run = ["run", "-W", "-d", "--name", name];
    kraft_in(bench, dir, &[&run, words].concat()).success()
}

/// Waits for the end of what the program prints; returns the console. The loader of programs stays
/// when its program has ended.
fn console(bench: &Bench, name: &str) -> String {
    let log = bench.wait_for_log(name, "that is all");
    let _ = bench.ok(["rm", "--force", name]);
    log
}

fn runs_the_command_of_a_dockerfile(bench: &Bench, app: &Path) {
    let text = "FROM scratch\nCOPY tell /bin/tell\nENV GREETING=\"hello there\"\n\
                CMD [\"/bin/tell\", \"two words\", \"x\"]\n";
    write(&app.join("Dockerfile"), text);
    let port = format!("{}:8080", free_port());
    let dry = kraft_in(bench, app, &["run", "-W", "--dry-run", "-p", &port, "."]).success();
    assert!(
        dry.stdout.contains("-- /bin/tell \"two words\" x"),
        "{dry:?}"
    );
    let _ = start(bench, app, "docker", &["-p", &port, "."]);
    let log = console(bench, "docker");
    for line in ["word 1 <two words>", "word 2 <x>", "greeting <hello there>"] {
        assert!(log.contains(line), "no `{line}`: {log}");
    }
}

fn runs_a_program_with_arguments_and_a_volume(bench: &Bench, app: &Path) {
    write(&app.join("data/in"), "from the host\n");
    let words = [
        "-e",
        "GREETING=good day",
        "-v",
        "./data:/data",
        "./tell",
        "one",
        "two words",
    ];
    let _ = start(bench, app, "program", &words);
    let log = console(bench, "program");
    for line in ["word 1 <one>", "word 2 <two words>", "greeting <good day>"] {
        assert!(log.contains(line), "no `{line}`: {log}");
    }
    let out = std::fs::read_to_string(app.join("data/out")).unwrap();
    assert_eq!(out, "got from the host\n");
}

/// Asks a guest over HTTP. QEMU takes the connection before the guest does.
fn ask(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn answers_on_a_published_port(bench: &Bench, app: &Path) {
    let port = free_port();
    let _ = start(
        bench,
        app,
        "web",
        &["-p", &format!("{port}:8080"), "./serve"],
    );
    let began = Instant::now();
    eventually("an answer of the guest", || {
        ask(port).is_ok_and(|answer| answer.ends_with("\r\n\r\nhello\n"))
    });
    eprintln!("answered after {:.1} s", began.elapsed().as_secs_f32());
    let _ = bench.ok(["rm", "--force", "web"]);
}

fn warns_where_the_kernel_insists_on_a_network(bench: &Bench, project: &Path, app: &Path) {
    adapt(
        &project.join("Kraftfile"),
        &[(
            "CONFIG_LWIP_LOOPBACK: 'y'\n",
            "CONFIG_LWIP_LOOPBACK: 'y'\n      CONFIG_LWIP_FAILNOIFACE: 'y'\n",
        )],
    );
    let _ = build(bench, project);
    let _ = kraft_in(bench, project, &["pkg", "--name", "insists:v1", "."]).success();
    let words = ["--runtime", "insists:v1", "./tell"];
    let told = start(bench, app, "alone", &words);
    assert!(
        told.stderr.contains("does not boot without a network"),
        "{told:?}"
    );
    assert!(told.stderr.contains("--port 8080:8080"), "{told:?}");
    bench.wait_for_state("alone", "errored");
    let port = format!("{}:8080", free_port());
    let told = start(bench, app, "online", &[&["-p", &port][..], &words].concat());
    assert!(!told.stderr.contains("without a network"), "{told:?}");
    let _ = console(bench, "online");
}

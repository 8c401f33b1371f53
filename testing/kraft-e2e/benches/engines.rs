//! The time of a program that prints one line in Docker: as a unikernel with `runu`, and as an ordinary
//! container with runc and with `runu`, beside `kraft run` of the same image, alternating in one run.
//!
//! `cargo bench -p kraft-e2e --bench engines` prints medians and ratios. Nothing here fails because of a
//! number. What is measured is what `docker run --rm` asks of the API: create, start, wait and remove, without a
//! network. `runu` uses KVM where it works.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kraft_e2e::engines::Docker;
use kraft_e2e::harness::{Bench, has_builtin_runtime, kraft_binary, skip};
use kraft_e2e::networks::compile;
use kraft_e2e::registry::{Registry, installed};
use serde_json::{Value, json};

const ROUNDS: usize = 15;

const HELLO: &str = "#include <stdio.h>\nint main(void) { puts(\"hello\"); }\n";

fn main() {
    if !installed("gcc") || !has_builtin_runtime() {
        return skip("needs gcc and the built-in runtime: make setup runtime");
    }
    let bench = Bench::new();
    let runu = bench.path().join("runu");
    symlink(kraft_binary(), &runu).unwrap();
    let (Some(registry), Some(docker)) = (Registry::plain(), Docker::with_runtime("runu", &runu))
    else {
        return;
    };
    let unikernel = registry.name("bench/hello:v1");
    pack(&bench, &unikernel);
    docker.pull(&unikernel, "linux/amd64").unwrap();
    let ordinary = "hello:v1";
    docker.import(&bench.path().join("hello.tar"), ordinary);
    let in_docker = |runtime: &str, image: &str| {
        let host = json!({ "Runtime": runtime, "NetworkMode": "none" });
        let cmd: &[&str] = if image == ordinary { &["/hello"] } else { &[] };
        let start = Instant::now();
        let id = docker.run(&json!({ "Image": image, "Cmd": cmd, "HostConfig": host }));
        let ended = docker.wait(&id);
        let removed = docker.ask(&format!("DELETE /containers/{id}"), &Value::Null);
        let taken = start.elapsed();
        assert_eq!(ended.0, 0, "{}", ended.1);
        assert!(ended.1.contains("hello"), "{}", ended.1);
        assert_eq!(removed.status, 204);
        taken
    };
    let runs: [(&str, &dyn Fn() -> Duration); 4] = [
        ("docker run, container, runc", &|| {
            in_docker("runc", ordinary)
        }),
        ("docker run, container, runu", &|| {
            in_docker("runu", ordinary)
        }),
        ("docker run, unikernel, runu", &|| {
            in_docker("runu", &unikernel)
        }),
        ("kraft run, unikernel", &|| kraft_run(&bench, &unikernel)),
    ];
    let mut times = vec![Vec::new(); runs.len()];
    for round in 0..=ROUNDS {
        for ((_, run), times) in runs.iter().zip(&mut times) {
            let taken = run();
            // The first round fills caches.
            if round > 0 {
                times.push(taken);
            }
        }
    }
    println!("{:<44} {:>10} {:>10}", "hello", "ms", "to runc");
    let medians: Vec<f64> = times.iter_mut().map(|times| median(times)).collect();
    for ((name, _), millis) in runs.iter().zip(&medians) {
        println!("{name:<44} {millis:>10.1} {:>10.2}", millis / medians[0]);
    }
}

/// Makes the program, an archive with it alone for Docker, and the image of its unikernel in the registry.
fn pack(bench: &Bench, image: &str) {
    compile(bench, "hello", HELLO);
    let archived = Command::new("tar")
        .args(["-cf", "hello.tar", "hello"])
        .current_dir(bench.path())
        .status();
    assert!(archived.unwrap().success());
    let dockerfile = "FROM scratch\nCOPY hello /hello\nENTRYPOINT [\"/hello\"]\n";
    fs::write(bench.path().join("Dockerfile"), dockerfile).unwrap();
    bench.ok(["pkg", "--name", image, "--rootfs", "./Dockerfile", "--push"]);
}

fn kraft_run(bench: &Bench, image: &str) -> Duration {
    let mut command = bench.command(["run", "--rm", image]);
    command.stdin(Stdio::null());
    let start = Instant::now();
    let output = command.output().unwrap();
    let taken = start.elapsed();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("hello"));
    taken
}

fn median(times: &mut [Duration]) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e3
}

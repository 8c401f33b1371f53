//! Networks whose processes are killed at any moment: nothing of them is left on the host.
//!
//! `KRAFT_TORTURE=100` kills that many processes instead of a few.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use kraft_e2e::harness::eventually;
use kraft_e2e::networks::{Place, get, kill, traces};
use kraft_e2e::registry::free_port;

/// Words of the command lines of what is killed; the last one stands for the `kraft` of the user.
const VICTIMS: [&str; 5] = ["__network", "__monitor", "qemu-system", "slirp4netns", ""];

/// Returns how often something is killed.
fn rounds() -> usize {
    let asked = std::env::var("KRAFT_TORTURE").ok();
    asked
        .and_then(|text| text.parse().ok())
        .unwrap_or(2 * VICTIMS.len())
}

/// Starts a server in a network, in the foreground.
fn start(place: &Place, port: &str) -> Child {
    let mut command = place.command(["run", "--network", "web", "--port", port, "./server", "x"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// Ends a `kraft` that was started; it may have a wrapper, whose end leaves it alone.
fn end(place: &Place, mut child: Child) {
    let _ = child.kill();
    let _ = child.wait();
    for kraft in place.pids("web", "kraft run") {
        kill(kraft);
    }
}

/// Kills one of the processes of a start at some moment after it began, and checks that nothing is
/// left.
fn killed_at_any_moment(ordinary: bool) {
    let Some(place) = Place::new(ordinary) else {
        return;
    };
    let before = traces();
    place.ok(["net", "create", "web"]);
    let number = free_port();
    let port = format!("127.0.0.1:{number}:8080");
    // How long a start takes here.
    let began = Instant::now();
    let child = start(&place, &port);
    eventually("the port answers", || get(number).is_some());
    let whole = began.elapsed();
    end(&place, child);
    place.no_machine_is_left();

    let mut seed = u64::from(std::process::id());
    let rounds = rounds();
    let mut killed = [0; VICTIMS.len()];
    for round in 0..rounds {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        // Any moment of the start, of every second victim one early in its life.
        let share = f64::from(u32::try_from(seed >> 33).unwrap()) / f64::from(u32::MAX >> 1);
        let most = if (round / VICTIMS.len()).is_multiple_of(2) {
            whole
        } else {
            whole / 10
        };
        let mut child = start(&place, &port);
        let which = round % VICTIMS.len();
        let find = || match VICTIMS[which] {
            "" => place.pids("web", "kraft run"),
            word => place.pids("web", word),
        };
        while find().is_empty() && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(most.mul_f64(share));
        let victims = find();
        killed[which] += victims.len();
        victims.into_iter().for_each(kill);
        if round % 2 == 0 {
            // What is left is found, and reconciled.
            place.ok(["ps", "--all"]);
            place.ok(["net", "inspect", "web"]);
        }
        end(&place, child);
        place.no_machine_is_left();
    }
    println!("killed in {rounds} rounds: {VICTIMS:?} {killed:?}");
    assert!(killed.iter().all(|number| *number > 0), "{killed:?}");
    place.nothing_is_left(&before);
}

#[test]
fn whatever_is_killed_at_any_moment_leaves_nothing() {
    killed_at_any_moment(false);
}

#[test]
fn whatever_is_killed_of_an_ordinary_user_leaves_nothing() {
    killed_at_any_moment(true);
}

/// The program that leads out, or one that hangs if there is a file `hang` next to it.
const SLOW: &str =
    "#!/bin/sh\n[ -e DIR/hang ] && exec sleep 1000\nPATH=REST exec slirp4netns \"$@\"\n";

#[test]
fn a_way_out_that_hangs_at_its_start_holds_up_no_machine() {
    let Some(mut place) = Place::new(false) else {
        return;
    };
    let before = traces();
    let dir = place.bench.path().join("programs");
    let rest = std::env::var("PATH").unwrap();
    fs::create_dir(&dir).unwrap();
    let slow = dir.join("slirp4netns");
    let text = SLOW.replace("DIR", dir.to_str().unwrap());
    fs::write(&slow, text.replace("REST", &rest)).unwrap();
    fs::set_permissions(&slow, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{rest}", dir.display());
    place.bench = place.bench.env("PATH", &path);
    place.ok(["net", "create", "web"]);
    let port = free_port();
    let published = format!("127.0.0.1:{port}:8080");
    let run = ["run", "--detach", "--network", "web", "--name", "one"];
    let server = ["--port", &published, "./server", "one"];
    place.ok(run.iter().chain(&server).copied());
    eventually("the port answers", || get(port).is_some());
    fs::write(dir.join("hang"), "").unwrap();
    place.pids("web", "slirp4netns").into_iter().for_each(kill);
    let hanging = || place.pids("web", "sleep 1000");
    // One that hangs is ended after a while, and another one started.
    eventually("a request while it hangs", || {
        let before = hanging();
        let answer = get(port);
        !before.is_empty() && answer.is_some() && hanging() == before
    });
    assert_eq!(
        place.fetch("web", &["one", "8080"]),
        "one: hello from one\n"
    );
    place.nothing_is_left(&before);
}

//! Networks of machines, each way to the same server in one run: a published port (user networking,
//! a network of an ordinary user, a network of root), and from machine to machine.
//!
//! `cargo bench -p kraft-e2e --bench networks` prints one table of medians, and ratios. Nothing here
//! fails because of a number: ratios of one run are comparable, figures of different machines are
//! not. `KRAFT_ROUNDS=9 KRAFT_SECONDS=8` measures longer.

use std::process::Command;

use kraft_e2e::harness::{Outcome, eventually};
use kraft_e2e::networks::Place;
use kraft_e2e::registry::free_port;

/// The size of the answer that shows the bandwidth, in bytes.
const BYTES: &str = "4194304";

/// What is measured, as the client names it, with the title of its column.
const MEASURED: [(&str, &str); 5] = [
    ("latency_us", "latency µs"),
    ("p90_us", "p90 µs"),
    ("connect_us", "new conn. µs"),
    ("requests_per_second", "requests/s"),
    ("megabytes_per_second", "MB/s"),
];
const REQUESTS: usize = 3;
const BANDWIDTH: usize = 4;

/// A way to a server.
struct Way<'p> {
    title: &'static str,
    place: &'p Place,
    /// The port of the host; `None` from machine to machine.
    port: Option<u16>,
    /// One row per round.
    rounds: Vec<[f64; MEASURED.len()]>,
}

fn number(variable: &str, default: u32) -> u32 {
    let text = std::env::var(variable).ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn main() {
    let programs = [
        ("serve", include_str!("serve.c")),
        ("ask", include_str!("ask.c")),
    ];
    let (Some(root), Some(user)) = (Place::with(false, &programs), Place::with(true, &programs))
    else {
        return;
    };
    for place in [&root, &user] {
        place.ok(["net", "create", "bench"]);
    }
    let plain = publish(&root, &["--name", "plain"]);
    let network = ["--name", "server", "--network", "bench"];
    let of_user = publish(&user, &network);
    let of_root = publish(&root, &network);
    let way = |title, place, port| Way {
        title,
        place,
        port,
        rounds: Vec::new(),
    };
    let mut ways = [
        way("port, user networking", &root, Some(plain)),
        way("port, network of a user", &user, Some(of_user)),
        way("port, network of root", &root, Some(of_root)),
        way("machine to machine, of a user", &user, None),
        way("machine to machine, of root", &root, None),
    ];
    let seconds = number("KRAFT_SECONDS", 2).to_string();
    for _ in 0..number("KRAFT_ROUNDS", 3) {
        for way in &mut ways {
            let row = way.measure(&seconds);
            way.rounds.push(row);
        }
    }
    print(&ways);
    for place in [&root, &user] {
        place.ok(["rm", "--all", "--force"]);
        place.ok(["net", "rm", "bench"]);
    }
}

/// Starts a server with a port, and waits until it answers.
fn publish(place: &Place, flags: &[&str]) -> u16 {
    let port = free_port();
    let published = format!("127.0.0.1:{port}:8080");
    let run = ["run", "--detach", "--port", &published];
    place.ok(run.iter().chain(flags).chain(&["./serve"]).copied());
    eventually("the server answers", || {
        ask(place, port, "0.1", "64").code == Some(0)
    });
    port
}

fn ask(place: &Place, port: u16, seconds: &str, bytes: &str) -> Outcome {
    let mut command = Command::new(place.bench.path().join("ask"));
    Outcome::of(command.args(["127.0.0.1", &port.to_string(), seconds, bytes]))
}

impl Way<'_> {
    fn measure(&self, seconds: &str) -> [f64; MEASURED.len()] {
        let printed = match self.port {
            Some(port) => ask(self.place, port, seconds, BYTES).success().stdout,
            None => self.place.ok([
                "run",
                "--rm",
                "--network",
                "bench",
                "./ask",
                "server",
                "8080",
                seconds,
                BYTES,
            ]),
        };
        MEASURED.map(|(key, _)| {
            let mut words = printed.split_whitespace();
            let value = words.find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
            value
                .unwrap_or_else(|| panic!("{printed}"))
                .parse()
                .unwrap()
        })
    }

    /// Returns the median of one measured thing.
    fn median(&self, of: usize) -> f64 {
        let mut values: Vec<f64> = self.rounds.iter().map(|row| row[of]).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    }
}

fn print(ways: &[Way<'_>; 5]) {
    print!("{:<32}", "");
    for (_, title) in MEASURED {
        print!(" {title:>13}");
    }
    println!();
    for way in ways {
        print!("{:<32}", way.title);
        for at in 0..MEASURED.len() {
            print!(" {:>13.1}", way.median(at));
        }
        println!();
    }
    let [plain, of_user, _, between_user, between_root] = ways;
    println!();
    for (what, ours, theirs, aim) in [
        (
            "port, network of a user / user networking",
            of_user,
            plain,
            1.0,
        ),
        (
            "machine to machine, of a user / of root",
            between_user,
            between_root,
            0.95,
        ),
    ] {
        println!(
            "{what:<44} requests {:.2}, bandwidth {:.2} (aim {aim})",
            ours.median(REQUESTS) / theirs.median(REQUESTS),
            ours.median(BANDWIDTH) / theirs.median(BANDWIDTH),
        );
    }
}

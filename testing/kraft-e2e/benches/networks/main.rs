//! Networks of machines, each way to the same server in one run: a published port (user networking,
//! a network of an ordinary user, a network of root), and from machine to machine.
//!
//! `cargo bench -p kraft-e2e --bench networks` prints one table of medians, and ratios: the median of
//! those of each round, in which all ways are measured one after the other. Nothing here fails because
//! of a number: ratios of one run are comparable, figures of different machines are not.
//! `KRAFT_ROUNDS=9 KRAFT_SECONDS=8` measures longer.

use std::process::Command;

use kraft_e2e::harness::{Outcome, eventually};
use kraft_e2e::networks::Place;
use kraft_e2e::registry::free_port;

/// The size of the answer that shows the bandwidth, in bytes.
const BYTES: &str = "4194304";

/// A measured thing.
struct Measured {
    /// How the client names it.
    key: &'static str,
    /// The title of its column.
    title: &'static str,
    /// Whether less of it is better.
    is_time: bool,
}

const fn time(key: &'static str, title: &'static str) -> Measured {
    Measured {
        key,
        title,
        is_time: true,
    }
}

const fn rate(key: &'static str, title: &'static str) -> Measured {
    Measured {
        key,
        title,
        is_time: false,
    }
}

const MEASURED: [Measured; 5] = [
    time("p50_us", "p50 µs"),
    time("p99_us", "p99 µs"),
    time("connect_us", "new conn. µs"),
    rate("requests_per_second", "requests/s"),
    rate("megabytes_per_second", "MB/s"),
];

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
    let (Some(root), Some(user)) = (
        Place::in_networks(false, &programs),
        Place::in_networks(true, &programs),
    ) else {
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
    for _ in 0..number("KRAFT_ROUNDS", 5) {
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
        MEASURED.map(|measured| {
            let mut words = printed.split_whitespace();
            let value = words.find_map(|word| word.strip_prefix(measured.key)?.strip_prefix('='));
            value
                .unwrap_or_else(|| panic!("{printed}"))
                .parse()
                .unwrap()
        })
    }

    /// Returns the median of one measured thing.
    fn median(&self, at: usize) -> f64 {
        median(self.rounds.iter().map(|row| row[at]))
    }

    /// Returns how much better than another way this one is: the median of all rounds.
    fn ratio(&self, other: &Self, at: usize) -> f64 {
        let rounds = self.rounds.iter().zip(&other.rounds);
        median(rounds.map(|(ours, theirs)| {
            if MEASURED[at].is_time {
                theirs[at] / ours[at]
            } else {
                ours[at] / theirs[at]
            }
        }))
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Prints the title of a row, and a number for each measured thing.
fn print_row(title: &str, digits: usize, number: impl Fn(usize) -> f64) {
    print!("{title:<44}");
    for at in 0..MEASURED.len() {
        print!(" {:>13.digits$}", number(at));
    }
    println!();
}

fn print(ways: &[Way<'_>; 5]) {
    print!("{:<44}", "");
    for measured in &MEASURED {
        print!(" {:>13}", measured.title);
    }
    println!();
    for way in ways {
        print_row(way.title, 1, |at| way.median(at));
    }
    let [plain, of_user, _, between_user, between_root] = ways;
    println!("\nhow much better (1: the same; of times, the inverse)");
    print_row("port, network of a user / user networking", 2, |at| {
        of_user.ratio(plain, at)
    });
    print_row("machine to machine, of a user / of root", 2, |at| {
        between_user.ratio(between_root, at)
    });
}

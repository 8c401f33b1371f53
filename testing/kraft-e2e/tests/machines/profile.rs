//! Boot profiles: `kraft run --profile` and `kraft bench`.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use kraft_e2e::harness::Bench;
use kraft_e2e::registry::free_port;
use serde_json::Value;

use crate::runtime::with_program;

/// Prints a line, waits, and answers each request.
const SERVER: &str = r#"
#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
int main(void) {
    setvbuf(stdout, 0, _IONBF, 0);
    printf("started\n");
    usleep(100000);
    int server = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(8080)};
    if (bind(server, (void *)&any, sizeof any) || listen(server, 64)) return 1;
    for (;;) {
        char request[4096];
        int client = accept(server, 0, 0);
        if (read(client, request, sizeof request) < 0) return 2;
        dprintf(client, "HTTP/1.0 200 OK\r\n\r\nhello\n");
        close(client);
    }
}
"#;

fn bench() -> Option<(Bench, String)> {
    let (bench, server) = with_program(SERVER)?;
    Some((bench, server.to_str().unwrap().to_owned()))
}

/// Checks that the parts of each run are those, and that their sum is the time that passed.
fn check(report: &Value, parts: &[&str]) {
    let runs = report["runs"].as_array().unwrap();
    assert!(!runs.is_empty());
    for run in runs {
        let all = run["parts"].as_array().unwrap();
        let names: Vec<&str> = all
            .iter()
            .map(|part| part["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, parts, "{report:#}");
        let sum: u64 = all.iter().map(|part| part["us"].as_u64().unwrap()).sum();
        let wall = run["wall_us"].as_u64().unwrap();
        assert!(sum.abs_diff(wall) * 20 <= wall, "{report:#}");
    }
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn the_parts_of_a_boot_are_its_time() {
    let Some((bench, server)) = bench() else {
        return;
    };
    let port = free_port();
    let published = format!("127.0.0.1:{port}:8080");
    let all = [
        "kraft",
        "VMM",
        "firmware",
        "kernel",
        "first output",
        "first answer",
    ];
    let run = [
        "run", "-W", "--detach", "--name", "web", "--port", &published,
    ];
    bench.ok(run.iter().copied().chain(["--profile=boot.json", &server]));
    let report = read(&bench.path().join("boot.json"));
    check(&report, &all);
    let answer = report["runs"][0]["parts"][5]["us"].as_u64().unwrap();
    assert!(answer >= 50_000, "the server waited 100 ms: {report:#}");
    bench.ok(["rm", "--force", "web"]);

    // Of one that continues, there is no boot; it has printed already.
    let mut run = run.to_vec();
    run.extend(["--profile", &server]);
    let outcome = bench.kraft(&run).success();
    for part in all.iter().chain(&["sum"]) {
        assert!(outcome.stderr.contains(part), "{part}: {}", outcome.stderr);
    }
    bench.ok(["snapshot", "create", "web", "ready"]);
    bench.ok(["rm", "--force", "web"]);
    let run = [
        "run",
        "--detach",
        "--snapshot",
        "ready",
        "--port",
        &published,
    ];
    bench.ok(run.into_iter().chain(["--profile=restored.json"]));
    let report = read(&bench.path().join("restored.json"));
    let parts = report["runs"][0]["parts"].as_array().unwrap();
    assert_eq!(parts[1]["name"], "VMM", "{report:#}");
    assert_eq!(
        parts.last().unwrap()["name"],
        "firmware + kernel + first answer"
    );

    let odd = bench.kraft(["run", "--profile=boot.txt", &server]).exits(2);
    assert!(
        odd.stderr.contains(".json, .html or .svg"),
        "{}",
        odd.stderr
    );
}

#[test]
fn boots_are_compared_and_may_not_exceed_a_budget() {
    let Some((bench, server)) = bench() else {
        return;
    };
    let measure = ["bench", "boot", "-W", "--runs", "2"];
    let printed = bench.ok(measure.iter().copied().chain(["-o", "json", &server]));
    let before = bench.path().join("before.json");
    fs::write(&before, &printed).unwrap();
    let report = read(&before);
    assert_eq!(report["runs"].as_array().unwrap().len(), 2);
    check(
        &report,
        &["kraft", "VMM", "firmware", "kernel", "first output"],
    );
    let machines = bench.json(["ps", "--all", "-o", "json"]);
    assert_eq!(machines, serde_json::json!([]), "machines are removed");

    // A boot of 1 ms is not possible, one of ten minutes is.
    let within = ["bench", "show", "before.json", "--compare", "before.json"];
    let table = bench.ok(within.iter().copied().chain(["--budget", "10m"]));
    assert!(
        table
            .lines()
            .any(|line| line.starts_with("kernel") && line.ends_with("+0 %")),
        "{table}"
    );
    let over = bench
        .kraft(within.iter().copied().chain(["--budget", "1ms"]))
        .exits(1);
    assert!(
        over.stderr.contains("longer than the budget of"),
        "{}",
        over.stderr
    );
    assert_eq!(over.stdout, table);
    let page = bench.ok(within.iter().copied().chain(["-o", "html"]));
    assert!(
        page.contains("<svg") && !page.contains("http-equiv") && !page.contains("<script"),
        "{page}"
    );
    fs::write(bench.path().join("odd.json"), "{}").unwrap();
    let odd = bench.kraft(["bench", "show", "odd.json"]).exits(1);
    assert!(
        odd.stderr.contains("is not a boot profile"),
        "{}",
        odd.stderr
    );
}

/// The programs that draw a page without a screen.
const BROWSERS: [&str; 5] = [
    "chromium",
    "chromium-headless-shell",
    "chromium-browser",
    "google-chrome",
    "chrome",
];

#[test]
fn a_browser_draws_the_parts_as_long_as_they_are() {
    let bench = Bench::new();
    let version = |name: &&str| {
        let mut command = Command::new(name);
        command
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let Some(browser) = BROWSERS.iter().find(|name| version(name)) else {
        // Too large to install for one picture.
        eprintln!("SKIPPED: chromium is not installed, which draws the chart");
        return;
    };
    let report = r#"{"version": 1, "target": "<b>&lt;", "runs": [{"wall_us": 400000, "parts": [
        {"name": "kraft", "us": 100000}, {"name": "VMM", "us": 50000}, {"name": "kernel", "us": 250000}]}]}"#;
    fs::write(bench.path().join("boot.json"), report).unwrap();
    let page = bench.path().join("boot.html");
    fs::write(
        &page,
        bench.ok(["bench", "show", "boot.json", "-o", "html"]),
    )
    .unwrap();
    let picture = bench.path().join("boot.png");
    let mut command = Command::new(browser);
    command
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
        ])
        .args(["--force-device-scale-factor=1", "--window-size=1100,600"])
        .arg(format!(
            "--user-data-dir={}",
            bench.path().join("profile").display()
        ))
        .arg(format!("--screenshot={}", picture.display()))
        .arg(format!("file://{}", page.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    assert!(command.status().unwrap().success());
    let (width, pixels) = pixels(&fs::read(&picture).unwrap());
    assert_eq!(width, 1100);
    // The colours of the parts, without the squares of the legend and the text in the bars.
    let count = |colour: [u8; 3]| pixels.iter().filter(|pixel| **pixel == colour).count();
    let [kraft, vmm, kernel] = [[0, 0x72, 0xb2], [0x56, 0xb4, 0xe9], [0, 0x9e, 0x73]].map(count);
    for (name, found, wanted) in [
        ("kraft", kraft, 210),
        ("VMM", vmm, 105),
        ("kernel", kernel, 525),
    ] {
        let wanted = wanted * 36;
        assert!(
            found > wanted * 8 / 10 && found < wanted * 12 / 10,
            "{name}: {found} of {wanted}"
        );
    }
}

/// Decodes a PNG of 8 bits per channel without interlacing (ISO/IEC 15948): its width, and its pixels
/// without transparency.
fn pixels(png: &[u8]) -> (usize, Vec<[u8; 3]>) {
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap()) as usize;
    let (width, height) = (number(16), number(20));
    let channels = match png[24..26] {
        [8, 2] => 3,
        [8, 6] => 4,
        _ => panic!("another kind of PNG: {:?}", &png[24..29]),
    };
    let (mut at, mut packed) = (8, Vec::new());
    while at < png.len() {
        let length = number(at);
        if &png[at + 4..at + 8] == b"IDAT" {
            packed.extend_from_slice(&png[at + 8..at + 8 + length]);
        }
        at += 12 + length;
    }
    let mut raw = Vec::new();
    flate2::read::ZlibDecoder::new(packed.as_slice())
        .read_to_end(&mut raw)
        .unwrap();
    let line = width * channels;
    let (mut above, mut out) = (vec![0_u8; line], Vec::new());
    for row in 0..height {
        let (filter, bytes) = raw[row * (line + 1)..(row + 1) * (line + 1)]
            .split_first()
            .unwrap();
        let mut now = bytes.to_vec();
        for index in 0..line {
            let left = if index < channels {
                0
            } else {
                now[index - channels]
            };
            let corner = if index < channels {
                0
            } else {
                above[index - channels]
            };
            let (a, b, c) = (i16::from(left), i16::from(above[index]), i16::from(corner));
            let predicted = match filter {
                0 => 0,
                1 => a,
                2 => b,
                3 => (a + b) / 2,
                _ => {
                    let near = |value: i16| (a + b - c - value).abs();
                    *[a, b, c].iter().min_by_key(|value| near(**value)).unwrap()
                }
            };
            now[index] = now[index].wrapping_add(u8::try_from(predicted).unwrap());
        }
        out.extend(
            now.chunks(channels)
                .map(|pixel| [pixel[0], pixel[1], pixel[2]]),
        );
        above = now;
    }
    (width, out)
}

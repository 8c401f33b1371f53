//! Every application is started again and again: none hangs or crashes.

use std::sync::Mutex;
use std::time::Instant;

use crate::catalog::ALL;
use crate::guest::{Guest, exists, root};

/// `KRAFT_STARTS=N` starts each N times instead of 50, `KRAFT_APPLICATION=NAME` only one of them.
#[test]
#[ignore = "make applications"]
fn no_application_hangs_or_crashes_in_fifty_starts() {
    let starts = std::env::var("KRAFT_STARTS").map_or(50, |text| text.parse().unwrap());
    let only = std::env::var("KRAFT_APPLICATION").ok();
    let all = ALL
        .iter()
        .filter(|one| only.as_deref().is_none_or(|name| name == one.name));
    let waiting = Mutex::new(all.filter(|one| exists("x86_64", one.root)));
    let failures = Mutex::new(Vec::new());
    let work = || {
        while let Some(application) = { waiting.lock().unwrap().next() } {
            let root = root("x86_64", application.root).unwrap();
            let guest = Guest::new(&root, "x86_64", application.memory("x86_64"));
            let (begun, mut lost) = (Instant::now(), 0);
            for number in 1..=starts {
                if let Err(why) = application.prove(&guest, true) {
                    lost += 1;
                    let text = format!("{} (start {number}): {why}", application.name);
                    println!("{text}");
                    failures.lock().unwrap().push(text);
                }
            }
            let each = begun.elapsed().as_secs_f64() / f64::from(starts);
            println!(
                "{:16} {starts} starts, {lost} lost, {each:.1} s each",
                application.name
            );
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    let failures = failures.into_inner().unwrap();
    assert!(
        failures.is_empty(),
        "{} lost:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

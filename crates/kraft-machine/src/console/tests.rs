use std::path::Path;

use jiff::Timestamp;
use proptest::prelude::*;

use super::recorder::Recorder;
use super::{MIN_LIMIT, Reader, SEGMENTS, prepare, segments};
use crate::layout::MachineDir;

/// A console of a machine's directory, prepared.
fn console() -> (tempfile::TempDir, MachineDir) {
    let dir = tempfile::tempdir().unwrap();
    let machine = MachineDir::new(dir.path().to_owned());
    prepare(&machine.console()).unwrap();
    (dir, machine)
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(1_700_000_000_000 + millis).unwrap()
}

fn record(machine: &MachineDir, pieces: &[(&[u8], i64)]) {
    let mut recorder = Recorder::open(&machine.console(), MIN_LIMIT).unwrap();
    for (bytes, millis) in pieces {
        recorder.record(bytes, at(*millis));
    }
}

fn rest(reader: &mut Reader) -> Vec<u8> {
    let mut all = Vec::new();
    let mut buffer = vec![0; 10_007];
    loop {
        match reader.read(&mut buffer).unwrap() {
            0 => return all,
            read => all.extend(&buffer[..read]),
        }
    }
}

fn reader(machine: &MachineDir) -> Reader {
    Reader::open(machine).unwrap().unwrap()
}

/// Numbered lines.
fn numbered(bytes: usize) -> Vec<u8> {
    let mut text = Vec::new();
    let mut number = 0;
    while text.len() < bytes {
        text.extend(format!("line {number}\n").into_bytes());
        number += 1;
    }
    text
}

/// Returns the disk usage of the directory.
fn on_disk(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = std::fs::read_dir(dir).unwrap();
    entries
        .map(|entry| entry.unwrap().metadata().unwrap().blocks() * 512)
        .sum()
}

#[test]
fn whatever_is_printed_stays_within_the_limit_and_the_end_of_it_is_kept() {
    let (_dir, machine) = console();
    let all = numbered(5 << 20);
    let mut recorder = Recorder::open(&machine.console(), MIN_LIMIT).unwrap();
    for (index, piece) in all.chunks(777).enumerate() {
        // Times that fill as much as the bytes do, or more.
        recorder.record(piece, at(i64::try_from(index).unwrap() * 20));
        assert!(segments(&machine.console()).unwrap().len() <= SEGMENTS);
    }
    assert!(on_disk(&machine.console()) <= MIN_LIMIT);
    let mut reader = reader(&machine);
    let kept = rest(&mut reader);
    assert!(all.ends_with(&kept));
    assert!(kept.len() as u64 > MIN_LIMIT * 3 / 4, "{}", kept.len());
    assert_eq!(reader.take_lost() + kept.len() as u64, all.len() as u64);
}

#[test]
fn single_bytes_far_apart_stay_within_the_limit_as_well() {
    let (_dir, machine) = console();
    let mut recorder = Recorder::open(&machine.console(), MIN_LIMIT).unwrap();
    for index in 0..200_000 {
        recorder.record(b"x", at(index * 1000));
    }
    assert!(on_disk(&machine.console()) <= MIN_LIMIT);
    assert!(!rest(&mut reader(&machine)).is_empty());
}

#[test]
fn a_reader_that_keeps_up_loses_nothing_across_segments_and_recorders() {
    let (_dir, machine) = console();
    let all = numbered(3 << 20);
    let mut reader = reader(&machine);
    let mut seen = Vec::new();
    for part in all.chunks(all.len() / 5) {
        let mut recorder = Recorder::open(&machine.console(), MIN_LIMIT).unwrap();
        for piece in part.chunks(4096) {
            recorder.record(piece, at(0));
            seen.extend(rest(&mut reader));
        }
    }
    assert!(seen == all);
    assert_eq!(reader.take_lost(), 0);
}

#[test]
fn a_reader_that_falls_behind_is_told_how_much_it_missed() {
    let (_dir, machine) = console();
    let all = numbered(4 << 20);
    let (first, second) = all.split_at(1000);
    record(&machine, &[(first, 0)]);
    let mut reader = reader(&machine);
    assert_eq!(rest(&mut reader), first);
    record(&machine, &[(second, 1)]);
    let kept = rest(&mut reader);
    let lost = reader.take_lost();
    assert!(lost > 0);
    // What it had open it reads to its end.
    let (old, new) = kept.split_at(100_000);
    assert!(second.starts_with(old) && all.ends_with(&new[new.len() - 800_000..]));
    assert_eq!(lost + (first.len() + kept.len()) as u64, all.len() as u64);
}

#[test]
fn bytes_are_found_by_the_time_of_their_arrival() {
    let (_dir, machine) = console();
    record(
        &machine,
        &[
            (b"one\n", 0),
            (b"two\n", 5),
            (b"three\n", 20),
            (b"four\n", 19),
        ],
    );
    // Another monitor: it notes a time of its own.
    record(&machine, &[(b"five\n", 2000)]);
    let reader = reader(&machine);
    let since = |millis| reader.arrived_since(at(millis)).unwrap();
    // What arrives within 10 ms has one time; a clock that goes back does not.
    assert_eq!([since(-1), since(0), since(1), since(20)], [0, 0, 8, 8]);
    assert_eq!([since(21), since(2000), since(2001)], [19, 19, 24]);
}

#[test]
fn arrivals_are_told_of_every_piece_that_is_read() {
    let (_dir, machine) = console();
    record(
        &machine,
        &[(b"one\n", 0), (b"two\n", 50), (b"three\n", 100)],
    );
    let mut reader = reader(&machine);
    let mut told = Vec::new();
    let mut buffer = [0; 6];
    loop {
        let read = reader.read(&mut buffer).unwrap() as u64;
        if read == 0 {
            break;
        }
        let position = reader.position();
        let arrivals = reader.arrivals(position - read..position).unwrap();
        told.push(
            arrivals
                .iter()
                .map(|arrival| (arrival.index, arrival.time))
                .collect::<Vec<_>>(),
        );
    }
    assert_eq!(
        told,
        [
            vec![(0, at(0)), (4, at(50))],
            vec![(0, at(50)), (2, at(100))],
            vec![(0, at(100))],
        ]
    );
}

#[test]
fn a_removed_segment_without_a_directory_or_a_console_is_no_failure() {
    let (dir, machine) = console();
    let mut reader = reader(&machine);
    assert_eq!(reader.bounds().unwrap(), 0..0);
    let mut recorder = Recorder::open(&machine.console(), MIN_LIMIT).unwrap();
    recorder.record(b"before", at(0));
    kraft_sys::fs::remove_tree(&machine.console()).unwrap();
    recorder.record(&numbered(1 << 20), at(1));
    assert_eq!(rest(&mut reader), b"");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    assert!(Reader::open(&machine).unwrap().is_none());
}

proptest! {
    #[test]
    fn the_tail_is_the_last_lines(
        text in "[ab\\n]{0,60}",
        count in 0u64..8,
        firmware in 0usize..5,
    ) {
        let (_dir, machine) = console();
        record(&machine, &[(text.as_bytes(), 0)]);
        let start = firmware.min(text.len());
        let bounds = start as u64..text.len() as u64;
        let found = reader(&machine).tail(count, &bounds).unwrap();
        let lines: Vec<&[u8]> = text.as_bytes()[start..].split_inclusive(|b| *b == b'\n').collect();
        let skipped = lines.len().saturating_sub(usize::try_from(count).unwrap());
        let wanted = lines[skipped..].concat();
        prop_assert_eq!(&text.as_bytes()[usize::try_from(found).unwrap()..], wanted);
    }
}

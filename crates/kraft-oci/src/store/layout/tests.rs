use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt};

use kraft_sys::amend::Version;

use super::positions::{Positions, WORTH};
use super::*;
use crate::image::{Index, Manifest, media};
use crate::json::to_vec;
use crate::store::{self, About};

fn layout() -> (tempfile::TempDir, Layout) {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::open(&dir.path().join("images")).unwrap();
    (dir, layout)
}

fn name(text: &str) -> Reference {
    text.parse::<Reference>().unwrap().qualified()
}

/// Stores an image of one layer and returns its index and every blob.
fn image(layout: &Layout, content: &[u8]) -> (Descriptor, Vec<Digest>) {
    image_in(&*layout.lease().unwrap(), content)
}

fn image_in(lease: &dyn Lease, content: &[u8]) -> (Descriptor, Vec<Digest>) {
    let layer = store::put(lease, media::LAYER, content, None).unwrap();
    let config = store::put(lease, media::CONFIG, b"{}", None).unwrap();
    let manifest = Manifest {
        schema_version: 2,
        media_type: media::MANIFEST.to_owned(),
        config: config.clone(),
        layers: vec![layer.clone()],
        annotations: std::collections::BTreeMap::default(),
    };
    let manifest = store::put(lease, media::MANIFEST, &to_vec(&manifest), None).unwrap();
    let index = Index {
        schema_version: 2,
        media_type: media::INDEX.to_owned(),
        manifests: vec![manifest.clone()],
        annotations: std::collections::BTreeMap::default(),
    };
    let index = store::put(lease, media::INDEX, &to_vec(&index), None).unwrap();
    let blobs = [&layer, &config, &manifest, &index].map(|d| d.digest.clone());
    (index, blobs.to_vec())
}

#[test]
fn a_store_that_nobody_wrote_to_is_empty_and_makes_no_directory() {
    let (_dir, layout) = layout();
    assert_eq!(layout.names().unwrap(), []);
    assert_eq!(layout.blobs().unwrap(), []);
    assert_eq!(layout.sweep(false).unwrap(), Swept::default());
    assert_eq!(layout.untag(&name("a")).unwrap(), None);
    assert!(!layout.dir().exists());
}

#[test]
fn a_directory_of_something_else_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::replace_file(&dir.path().join(MARK), b"{\"imageLayoutVersion\":\"9\"}").unwrap();
    let error = Layout::open(dir.path()).unwrap_err();
    assert!(matches!(error, Error::Foreign { .. }), "{error}");
}

#[test]
fn what_a_name_leads_to_stays_and_the_rest_is_swept() {
    let (_dir, layout) = layout();
    let (kept, kept_blobs) = image(&layout, b"kept");
    let (gone, gone_blobs) = image(&layout, b"gone");
    layout.tag(&name("kept"), &kept, &Expect::Nothing).unwrap();
    layout.tag(&name("gone"), &gone, &Expect::Nothing).unwrap();
    assert_eq!(layout.sweep(false).unwrap(), Swept::default());

    assert_eq!(layout.untag(&name("gone")).unwrap(), Some(gone));
    let would = layout.sweep(true).unwrap();
    assert_eq!(layout.sweep(false).unwrap(), would);
    let swept: Vec<Digest> = would.blobs.into_iter().map(|(digest, _)| digest).collect();
    // Both images have the same configuration.
    let only_gone = gone_blobs.iter().filter(|blob| !kept_blobs.contains(blob));
    let mut only_gone: Vec<Digest> = only_gone.cloned().collect();
    only_gone.sort();
    assert_eq!(swept, only_gone);
    for blob in &kept_blobs {
        assert!(layout.size(blob).unwrap().is_some());
    }
}

#[test]
fn what_is_held_stays_until_its_holder_is_gone() {
    let (_dir, layout) = layout();
    let lease = layout.lease().unwrap();
    let blob = store::put(&*lease, media::LAYER, b"held", None).unwrap();
    let mut unnamed = lease.ingest(&About::default()).unwrap().unwrap();
    unnamed.write_all(b"found out later").unwrap();
    let (late, size) = unnamed.commit().unwrap();
    assert_eq!(size, 15);
    assert_eq!(layout.sweep(false).unwrap(), Swept::default());
    drop(lease);
    assert_eq!(layout.sweep(false).unwrap().blobs.len(), 2);
    assert_eq!(layout.size(&blob.digest).unwrap(), None);
    assert_eq!(layout.size(&late).unwrap(), None);
}

#[test]
fn a_hold_of_a_process_that_died_holds_nothing() {
    let (_dir, layout) = layout();
    let lease = layout.lease().unwrap();
    let blob = store::put(&*lease, media::LAYER, b"x", None).unwrap();
    drop(lease);
    let left = layout.holds_dir().join("1-dead");
    fs::replace_file(&left, format!("{}\n", blob.digest.hex()).as_bytes()).unwrap();
    assert_eq!(layout.sweep(false).unwrap().blobs, [(blob.digest, 1)]);
    assert!(!left.exists());
}

#[test]
fn an_interrupted_blob_is_gone_on_with_and_a_wrong_one_forgotten() {
    let (_dir, layout) = layout();
    let lease = layout.lease().unwrap();
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let blob = Descriptor::of(media::LAYER, &bytes);

    let mut first = lease.ingest(&About::blob(&blob)).unwrap().unwrap();
    first.write_all(&bytes[..2_500_000]).unwrap();
    drop(first);
    assert_eq!(layout.size(&blob.digest).unwrap(), None);

    let mut second = lease.ingest(&About::blob(&blob)).unwrap().unwrap();
    let offset = usize::try_from(second.offset()).unwrap();
    assert!(offset > 1_000_000, "{offset}");
    second.write_all(&bytes[offset..]).unwrap();
    second.commit().unwrap();
    assert_eq!(store::read(&layout, &blob).unwrap(), bytes);
    assert!(lease.ingest(&About::blob(&blob)).unwrap().is_none());

    let wrong = Descriptor::of(media::LAYER, b"right");
    let mut ingest = lease.ingest(&About::blob(&wrong)).unwrap().unwrap();
    ingest.write_all(b"wrong").unwrap();
    let error = ingest.commit().unwrap_err();
    assert!(matches!(
        error,
        Error::Damaged {
            source: Damage::Digest { .. },
            ..
        }
    ));
    assert_eq!(
        entries(&layout.ingest_dir()).unwrap(),
        Vec::<PathBuf>::new()
    );
}

#[test]
fn more_bytes_than_promised_are_not_taken() {
    let (_dir, layout) = layout();
    let lease = layout.lease().unwrap();
    let blob = Descriptor::of(media::LAYER, b"four");
    let mut ingest = lease.ingest(&About::blob(&blob)).unwrap().unwrap();
    assert!(ingest.write_all(b"four and more").is_err());
    drop(ingest);
    assert_eq!(layout.size(&blob.digest).unwrap(), None);
}

#[test]
fn starting_over_forgets_what_was_there() {
    let (_dir, layout) = layout();
    let lease = layout.lease().unwrap();
    let bytes = vec![7; 2_100_000];
    let blob = Descriptor::of(media::LAYER, &bytes);
    let mut ingest = lease.ingest(&About::blob(&blob)).unwrap().unwrap();
    ingest.write_all(&vec![9; 2_000_000]).unwrap();
    ingest.restart().unwrap();
    ingest.write_all(&bytes).unwrap();
    ingest.commit().unwrap();
    assert_eq!(store::read(&layout, &blob).unwrap(), bytes);
}

#[test]
fn a_name_changes_only_from_what_is_expected() {
    let (_dir, layout) = layout();
    let (one, _) = image(&layout, b"1");
    let (two, _) = image(&layout, b"2");
    let a = name("a:b");
    layout.tag(&a, &one, &Expect::Nothing).unwrap();
    let moved = |outcome| matches!(outcome, Err(Error::Moved(_)));
    assert!(moved(layout.tag(&a, &two, &Expect::Nothing)));
    assert!(moved(layout.tag(
        &a,
        &two,
        &Expect::This(two.digest.clone())
    )));
    layout
        .tag(&a, &two, &Expect::This(one.digest.clone()))
        .unwrap();
    assert_eq!(layout.find(&a).unwrap().unwrap().target, two);
    assert_eq!(layout.names().unwrap().len(), 1);
}

#[test]
fn nothing_is_swept_while_an_image_is_damaged() {
    let (_dir, layout) = layout();
    let (one, blobs) = image(&layout, b"1");
    layout.tag(&name("a"), &one, &Expect::Nothing).unwrap();
    // The manifest.
    fs::replace_file(&layout.blob(&blobs[2]), b"{}").unwrap();
    let error = layout.sweep(false).unwrap_err();
    assert!(matches!(error, Error::Unsure { .. }), "{error}");
    for blob in &blobs {
        assert!(layout.size(blob).unwrap().is_some());
    }
}

#[test]
fn entries_of_other_tools_are_kept_with_what_belongs_to_them() {
    let (_dir, layout) = layout();
    let (one, _) = image(&layout, b"1");
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [one]});
    fs::replace_file(&layout.dir().join("index.json"), &to_vec(&index)).unwrap();
    assert_eq!(layout.names().unwrap(), []);
    assert_eq!(layout.sweep(false).unwrap(), Swept::default());
    let (two, _) = image(&layout, b"2");
    layout.tag(&name("two"), &two, &Expect::Nothing).unwrap();
    let text = std::fs::read_to_string(layout.dir().join("index.json")).unwrap();
    assert!(text.contains(one.digest.as_str()) && text.contains(two.digest.as_str()));
}

#[test]
fn a_wrong_size_for_a_blob_that_is_whole_is_refused_and_the_blob_stays() {
    let (_dir, layout) = layout();
    let lease = layout.lease().unwrap();
    let stored = store::put(&*lease, media::LAYER, b"content", None).unwrap();
    for size in [0, 6, 8, u64::MAX] {
        let lie = Descriptor {
            size,
            ..stored.clone()
        };
        let error = lease.ingest(&About::blob(&lie)).unwrap_err();
        assert!(matches!(error, Error::Size { found: 7, .. }), "{error}");
        assert_eq!(layout.size(&stored.digest).unwrap(), Some(7));
    }
    // What the disk lost something of is taken again.
    fs::replace_file(&layout.blob(&stored.digest), b"cont").unwrap();
    let mut ingest = lease.ingest(&About::blob(&stored)).unwrap().unwrap();
    ingest.write_all(b"content").unwrap();
    assert_eq!(ingest.commit().unwrap(), (stored.digest, 7));
}

#[test]
fn what_a_document_that_makes_no_sense_mentions_is_not_swept() {
    let (_dir, layout) = layout();
    let lease = layout.lease().unwrap();
    let kept = store::put(&*lease, media::LAYER, b"mentioned", None).unwrap();
    let gone = store::put(&*lease, media::LAYER, b"not mentioned", None).unwrap();
    let odd = format!("{{\"manifests\": {{\"parts\": [\"{}\"]}}}}", kept.digest);
    let odd = store::put(&*lease, media::INDEX, odd.as_bytes(), None).unwrap();
    drop(lease);
    layout.tag(&name("odd"), &odd, &Expect::Nothing).unwrap();
    let swept = layout.sweep(false).unwrap();
    assert_eq!(swept.blobs, [(gone.digest, gone.size)]);
    assert!(layout.size(&odd.digest).unwrap().is_some());
}

#[test]
fn blobs_that_come_in_numbers_appear_when_they_are_flushed() {
    let (_dir, layout) = layout();
    let lease = layout.lease_many().unwrap();
    let blobs: Vec<Vec<u8>> = (0..600_u32)
        .map(|number| number.to_le_bytes().repeat(1 + number as usize))
        .collect();
    let mut stored = Vec::new();
    for bytes in blobs.iter().chain(&blobs) {
        // The same once more is there already, though it waits.
        stored.push(store::put(&*lease, media::LAYER, bytes, None).unwrap());
    }
    let last = stored.last().unwrap();
    assert_eq!(layout.size(&last.digest).unwrap(), None);
    lease.flush().unwrap();
    lease.flush().unwrap();
    for (descriptor, bytes) in stored.iter().zip(blobs.iter().chain(&blobs)) {
        assert_eq!(store::read(&layout, descriptor).unwrap(), *bytes);
    }
    assert_eq!(
        entries(&layout.ingest_dir()).unwrap(),
        Vec::<PathBuf>::new()
    );
    assert_eq!(
        layout.sweep(false).unwrap(),
        Swept::default(),
        "they are held"
    );
    drop(lease);
    assert_eq!(layout.sweep(false).unwrap().blobs.len(), 600);
}

#[test]
fn what_was_put_off_by_somebody_who_died_is_taken_again() {
    let (_dir, layout) = layout();
    let lease = layout.lease_many().unwrap();
    let blob = store::put(&*lease, media::LAYER, b"put off", None).unwrap();
    drop(lease);
    assert_eq!(layout.size(&blob.digest).unwrap(), None);
    let lease = layout.lease().unwrap();
    let again = store::put(&*lease, media::LAYER, b"put off", None).unwrap();
    assert_eq!(store::read(&layout, &again).unwrap(), b"put off");
}

#[test]
fn many_names_are_given_at_once_and_those_that_moved_stay() {
    let (_dir, layout) = layout();
    let (one, _) = image(&layout, b"one");
    let (two, _) = image(&layout, b"two");
    layout.tag(&name("taken"), &one, &Expect::Nothing).unwrap();
    let give = |text: &str, since: Option<&str>| Named {
        name: name(text),
        target: two.clone(),
        since: since.map(|time| time.parse().unwrap()),
    };
    let moved = layout
        .tag_many(&[
            (give("old", Some("2024-05-06T07:08:09Z")), Expect::Nothing),
            (give("taken", None), Expect::Nothing),
            (give("other", None), Expect::This(two.digest.clone())),
            (give("new", None), Expect::Anything),
            // The last one of a name counts.
            (
                give("new", Some("2024-01-01T00:00:00Z")),
                Expect::This(two.digest.clone()),
            ),
        ])
        .unwrap();
    assert_eq!(moved, [name("taken"), name("other")]);
    assert_eq!(layout.names().unwrap().len(), 3);
    let since = |text: &str| {
        let found = layout.find(&name(text)).unwrap().unwrap();
        (found.target.digest, found.since.unwrap().to_string())
    };
    assert_eq!(
        since("old"),
        (two.digest.clone(), "2024-05-06T07:08:09Z".to_owned())
    );
    assert_eq!(
        since("new"),
        (two.digest.clone(), "2024-01-01T00:00:00Z".to_owned())
    );
    assert_eq!(since("taken").0, one.digest);
}

/// Returns those of some blobs that are not in the store any more.
fn gone<'a>(layout: &Layout, blobs: impl IntoIterator<Item = &'a Digest>) -> Vec<&'a Digest> {
    let blobs = blobs.into_iter();
    blobs
        .filter(|blob| layout.size(blob).unwrap().is_none())
        .collect()
}

fn collected(layout: &Layout) -> Vec<Digest> {
    let swept = layout.collect().unwrap();
    swept.blobs.into_iter().map(|(digest, _)| digest).collect()
}

/// Returns what is in one list of blobs only, sorted.
fn only(blobs: &[Digest], others: &[Digest]) -> Vec<Digest> {
    let mut only: Vec<Digest> = blobs.to_vec();
    only.retain(|blob| !others.contains(blob));
    only.sort();
    only
}

#[test]
fn collecting_removes_what_removed_and_replaced_names_led_to() {
    let (_dir, layout) = layout();
    let (one, one_blobs) = image(&layout, b"1");
    let (two, two_blobs) = image(&layout, b"2");
    let (three, three_blobs) = image(&layout, b"3");
    for (text, target) in [("a", &one), ("b", &two), ("c", &three)] {
        layout.tag(&name(text), target, &Expect::Nothing).unwrap();
    }
    assert_eq!(collected(&layout), []);

    layout.untag(&name("a")).unwrap();
    // The configuration is that of the others, too.
    assert_eq!(collected(&layout), only(&one_blobs, &two_blobs));
    layout.tag(&name("b"), &three, &Expect::Anything).unwrap();
    assert_eq!(collected(&layout), only(&two_blobs, &three_blobs));
    layout.untag(&name("b")).unwrap();
    assert_eq!(collected(&layout), [], "`c` leads to it");
    layout.untag(&name("c")).unwrap();
    assert_eq!(collected(&layout), only(&three_blobs, &[]));
    assert_eq!(layout.blobs().unwrap(), []);
    assert_eq!(entries(&layout.holds_dir()).unwrap(), Vec::<PathBuf>::new());
}

#[test]
fn several_names_are_removed_at_once() {
    let (_dir, layout) = layout();
    let (one, blobs) = image(&layout, b"1");
    for number in 0..40 {
        let name = name(&format!("n{number}"));
        layout.tag(&name, &one, &Expect::Nothing).unwrap();
    }
    let some: Vec<Reference> = (0..39).map(|number| name(&format!("n{number}"))).collect();
    assert_eq!(layout.untag_many(&some).unwrap().len(), 39);
    assert_eq!(layout.untag_many(&some).unwrap(), []);
    assert_eq!(layout.names().unwrap().len(), 1);
    assert_eq!(collected(&layout), []);
    layout.untag_many(&[name("n39"), name("n39")]).unwrap();
    assert_eq!(collected(&layout).len(), blobs.len());
}

#[test]
fn collecting_removes_what_failed_and_killed_writers_stored_and_keeps_what_living_ones_need() {
    let (_dir, layout) = layout();
    let (_, failed) = image(&layout, b"no name");
    let living = layout.lease().unwrap();
    let needed = store::put(&*living, media::LAYER, b"needed", None).unwrap();
    assert_eq!(collected(&layout), only(&failed, &[]));

    let (kept, kept_blobs) = image(&layout, b"kept");
    layout.tag(&name("kept"), &kept, &Expect::Nothing).unwrap();
    let killed = store::put(&*layout.lease().unwrap(), media::LAYER, b"killed", None).unwrap();
    // One that was killed lists what it needed of others as well.
    let left = layout.holds_dir().join("1-killed");
    let listed = [&kept_blobs[0], &needed.digest, &killed.digest].map(Digest::hex);
    fs::replace_file(&left, (listed.join("\n") + "\n").as_bytes()).unwrap();
    assert_eq!(collected(&layout), [killed.digest]);
    assert!(!left.exists());
    assert!(gone(&layout, kept_blobs.iter().chain([&needed.digest])).is_empty());
    drop(living);
    assert_eq!(collected(&layout), [needed.digest]);
}

#[test]
fn a_change_of_names_that_is_killed_halfway_loses_nothing_and_leaves_nothing() {
    let (_dir, layout) = layout();
    let (one, blobs) = image(&layout, b"1");
    layout.tag(&name("a"), &one, &Expect::Nothing).unwrap();
    let list: Vec<&str> = blobs.iter().map(Digest::hex).collect();
    let list = list.join("\n") + "\n";
    // Before the names are written.
    fs::replace_file(&layout.holds_dir().join("1-killed"), list.as_bytes()).unwrap();
    assert_eq!(collected(&layout), []);
    // And behind.
    let names = std::fs::read_to_string(layout.dir().join("index.json")).unwrap();
    layout.untag(&name("a")).unwrap();
    assert!(!entries(&layout.holds_dir()).unwrap().is_empty());
    assert_eq!(collected(&layout).len(), blobs.len());
    // What was restored by hand is damaged, and nothing else.
    fs::replace_file(&layout.dir().join("index.json"), names.as_bytes()).unwrap();
    assert_eq!(layout.names().unwrap().len(), 1);
}

#[test]
fn references_that_are_lost_damaged_or_old_cost_time_and_no_blob() {
    type Spoil = fn(&Layout, &[u8]);
    let spoils: [(&str, Spoil); 8] = [
        ("lost", |layout, _| {
            fs::remove_file(&layout.dir().join("references")).unwrap();
        }),
        ("empty", |layout, _| write_references(layout, b"")),
        ("cut short", |layout, text| {
            write_references(layout, &text[..text.len() - 30]);
        }),
        ("zeros", |layout, text| {
            let mut text = text.to_vec();
            text[70..140].fill(0);
            write_references(layout, &text);
        }),
        ("all zeros", |layout, text| {
            write_references(layout, &vec![0; text.len()]);
        }),
        ("something else", |layout, _| {
            write_references(layout, b"\n\n\nhello world\n \xff\n");
        }),
        ("torn lines", |layout, text| {
            write_references(layout, &[&text[..100], b"\n", text].concat());
        }),
        ("lines of another store", |layout, text| {
            write_references(layout, &text.iter().rev().copied().collect::<Vec<u8>>());
        }),
    ];
    for (title, spoil) in spoils {
        let (_dir, layout) = layout();
        let (one, one_blobs) = image(&layout, b"1");
        let (two, two_blobs) = image(&layout, b"2");
        layout.tag(&name("one"), &one, &Expect::Nothing).unwrap();
        layout.tag(&name("two"), &two, &Expect::Nothing).unwrap();
        layout.tag(&name("too"), &two, &Expect::Nothing).unwrap();
        layout.untag(&name("two")).unwrap();
        let text = std::fs::read(layout.dir().join("references")).unwrap();
        spoil(&layout, &text);
        assert_eq!(collected(&layout), [], "{title}");
        assert!(
            gone(&layout, one_blobs.iter().chain(&two_blobs)).is_empty(),
            "{title}"
        );
        layout.untag(&name("too")).unwrap();
        assert_eq!(collected(&layout), only(&two_blobs, &one_blobs), "{title}");
    }
}

#[test]
fn a_line_of_references_that_a_killed_writer_cut_short_does_not_count_once_another_follows() {
    let (_dir, layout) = layout();
    let (one, one_blobs) = image(&layout, b"1");
    layout.tag(&name("one"), &one, &Expect::Nothing).unwrap();
    let text = std::fs::read(layout.dir().join("references")).unwrap();
    // In the middle of digits, at their end, and behind the blank.
    for length in [10, 64, 65, 70, 81, 82, 83, 98, 99, text.len() - 1] {
        write_references(&layout, &text[..length]);
        let (two, _) = image(&layout, &length.to_le_bytes());
        layout.tag(&name("two"), &two, &Expect::Anything).unwrap();
        // All blobs of the first one are candidates.
        let list: Vec<&str> = one_blobs.iter().map(Digest::hex).collect();
        let list = list.join("\n") + "\n";
        fs::replace_file(&layout.holds_dir().join("1-killed"), list.as_bytes()).unwrap();
        layout.collect().unwrap();
        assert!(gone(&layout, &one_blobs).is_empty(), "{length}");
    }
}

/// Returns whether `references` says that it has the lines of all names.
fn is_sealed(layout: &Layout) -> bool {
    let text = std::fs::read(layout.dir().join("references")).unwrap();
    let names = fs::open_file(&names::path(layout.dir())).unwrap();
    seal::holds(&text, Some(Version::of(&names).unwrap()))
}

/// Takes the last bytes of `references` away, if they are a seal: as if its writer was killed before.
fn lose_seal(layout: &Layout) {
    let mut text = std::fs::read(layout.dir().join("references")).unwrap();
    let last_line = text.trim_ascii_end().rsplit(|byte| *byte == b'\n').next();
    if last_line.is_some_and(|line| line.starts_with(b"=")) {
        text.truncate(text.len() - last_line.map_or(0, <[u8]>::len) - 1);
        write_references(layout, &text);
    }
}

#[test]
fn references_are_sealed_while_kraft_alone_changes_names() {
    let (_dir, layout) = layout();
    let (kept, kept_blobs) = image(&layout, b"kept");
    layout.tag(&name("kept"), &kept, &Expect::Nothing).unwrap();
    drop(image(&layout, b"without a name"));
    assert!(!is_sealed(&layout), "no command has compared all lines");
    assert_eq!(collected(&layout).len(), 3);
    assert!(is_sealed(&layout));

    let images: Vec<_> = (0..3_u8).map(|number| image(&layout, &[number])).collect();
    let only = |number: usize| only(&images[number].1, &kept_blobs);
    let tag = |text: &str, number: usize| {
        let target = &images[number].0;
        layout.tag(&name(text), target, &Expect::Anything).unwrap();
    };
    tag("a", 0);
    tag("b", 1);
    assert!(is_sealed(&layout));
    tag("b", 2);
    assert!(is_sealed(&layout));
    assert_eq!(collected(&layout), only(1));
    layout.untag(&name("a")).unwrap();
    assert!(is_sealed(&layout));
    assert_eq!(collected(&layout), only(0));

    // Killed before the seal was written.
    tag("c", 2);
    lose_seal(&layout);
    assert!(!is_sealed(&layout));
    layout.untag(&name("b")).unwrap();
    assert!(!is_sealed(&layout));
    assert_eq!(collected(&layout), []);
    assert!(is_sealed(&layout));

    // Changed by another tool, to what has no line.
    let (fifth, blobs) = image(&layout, b"5");
    let path = layout.dir().join("index.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace(images[2].0.digest.hex(), fifth.digest.hex());
    fs::replace_file(&path, text.as_bytes()).unwrap();
    assert!(!is_sealed(&layout));
    let lost = images[2].1.iter().chain(&blobs).map(Digest::hex);
    let lost = lost.collect::<Vec<_>>().join("\n") + "\n";
    fs::replace_file(&layout.holds_dir().join("1-killed"), lost.as_bytes()).unwrap();
    assert_eq!(collected(&layout), only(2));
    assert!(gone(&layout, &blobs).is_empty());
    assert!(is_sealed(&layout));
}

#[test]
fn lines_that_are_not_those_that_were_sealed_count_for_nothing() {
    let (_dir, layout) = layout();
    let (one, blobs) = image(&layout, b"1");
    layout.tag(&name("one"), &one, &Expect::Nothing).unwrap();
    drop(image(&layout, b"2"));
    assert_eq!(collected(&layout).len(), 3);
    let text = std::fs::read(layout.dir().join("references")).unwrap();
    // Each digit would be one too many, in this number of files that are flushed.
    for at in (0..text.len()).step_by(7) {
        let mut spoilt = text.clone();
        spoilt[at] ^= 1;
        write_references(&layout, &spoilt);
        let list: Vec<&str> = blobs.iter().map(Digest::hex).collect();
        let list = list.join("\n") + "\n";
        fs::replace_file(&layout.holds_dir().join("1-killed"), list.as_bytes()).unwrap();
        assert_eq!(collected(&layout), [], "{at}");
        assert!(is_sealed(&layout), "{at}");
    }
}

#[test]
fn a_name_of_a_damaged_document_is_not_sealed_and_keeps_everything() {
    let (_dir, layout) = layout();
    let (one, _) = image(&layout, b"1");
    drop(image(&layout, b"2"));
    layout.tag(&name("one"), &one, &Expect::Nothing).unwrap();
    assert_eq!(collected(&layout).len(), 3);
    let (bad, blobs) = image(&layout, b"3");
    fs::replace_file(&layout.blob(&bad.digest), b"{}").unwrap();
    assert!(is_sealed(&layout));
    layout.tag(&name("bad"), &bad, &Expect::Nothing).unwrap();
    assert!(!is_sealed(&layout));
    let error = layout.collect().unwrap_err();
    assert!(matches!(error, Error::Unsure { .. }), "{error}");
    assert!(gone(&layout, &blobs).is_empty());
}

fn write_references(layout: &Layout, bytes: &[u8]) {
    fs::replace_file(&layout.dir().join("references"), bytes).unwrap();
}

#[test]
fn names_that_other_tools_and_versions_give_keep_their_blobs() {
    let (_dir, layout) = layout();
    let (one, _) = image(&layout, b"1");
    let (two, two_blobs) = image(&layout, b"2");
    let (three, three_blobs) = image(&layout, b"3");
    layout.tag(&name("one"), &one, &Expect::Nothing).unwrap();
    layout
        .tag(&name("three"), &three, &Expect::Nothing)
        .unwrap();
    // As an earlier version writes it, with one name in short and an entry without a name.
    let entry = |target: &Descriptor, name: Option<&str>| {
        let mut entry = serde_json::to_value(target).unwrap();
        if let Some(name) = name {
            entry["annotations"] = serde_json::json!({"org.opencontainers.image.ref.name": name});
        }
        entry
    };
    let entries = [
        entry(&two, None),
        entry(&three, Some("three")),
        entry(&one, Some("x.io/one:v1")),
    ];
    let index = serde_json::json!({"schemaVersion": 2, "manifests": entries});
    for text in [to_vec(&index), serde_json::to_vec_pretty(&index).unwrap()] {
        fs::replace_file(&layout.dir().join("index.json"), &text).unwrap();
        let (gone_later, blobs) = image(&layout, b"4");
        layout
            .tag(&name("four"), &gone_later, &Expect::Nothing)
            .unwrap();
        assert_eq!(layout.find(&name("three")).unwrap().unwrap().target, three);
        assert_eq!(layout.find(&name("one")).unwrap(), None);
        layout.untag(&name("four")).unwrap();
        assert_eq!(collected(&layout), only(&blobs, &two_blobs));
        assert!(gone(&layout, two_blobs.iter().chain(&three_blobs)).is_empty());
        assert_eq!(layout.names().unwrap().len(), 2);
    }
    // The short name is found and replaced, not given twice.
    layout
        .tag(&name("three"), &one, &Expect::This(three.digest.clone()))
        .unwrap();
    assert_eq!(layout.names().unwrap().len(), 2);
    assert_eq!(collected(&layout), only(&three_blobs, &two_blobs));
    assert_eq!(layout.sweep(true).unwrap(), Swept::default());
}

#[test]
fn manifests_that_arrive_after_their_index_was_named_are_kept_with_what_they_lead_to() {
    let (_dir, layout) = layout();
    let (other, other_blobs) = image(&layout, b"other");
    layout
        .tag(&name("other"), &other, &Expect::Nothing)
        .unwrap();
    let (index, blobs) = image(&layout, b"late");
    layout.tag(&name("late"), &index, &Expect::Nothing).unwrap();
    // The manifest and its layer vanish, and the line is written without them.
    for blob in only(&blobs[..3], &other_blobs) {
        layout.discard(&blob).unwrap();
    }
    fs::remove_file(&layout.dir().join("references")).unwrap();
    assert_eq!(collected(&layout), []);
    // They come back, and their writer ends.
    image(&layout, b"late");
    assert_eq!(collected(&layout), []);
    assert!(gone(&layout, &blobs).is_empty());
    layout.untag(&name("late")).unwrap();
    assert_eq!(collected(&layout), only(&blobs, &other_blobs));
}

#[test]
fn an_image_without_a_layer_keeps_the_layer_that_is_fetched_again() {
    let (_dir, layout) = layout();
    let (index, blobs) = image(&layout, b"lost");
    layout.discard(&blobs[0]).unwrap();
    layout.tag(&name("a"), &index, &Expect::Nothing).unwrap();
    image(&layout, b"lost");
    assert_eq!(collected(&layout), []);
    assert!(gone(&layout, &blobs).is_empty());
}

/// Makes `index.json` so large that only a part of it is written: with an entry of another tool,
/// which has no name and leads to `target`.
fn enlarge(layout: &Layout, target: &Descriptor) {
    let path = layout.dir().join("index.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut entry = serde_json::to_value(target).unwrap();
    let padding = "x".repeat(usize::try_from(WORTH).unwrap());
    entry["annotations"] = serde_json::json!({"padding": padding});
    let (head, entries) = text.split_once('\n').unwrap();
    let text = format!("{head}\n{entry},\n{entries}");
    fs::replace_file(&path, text.as_bytes()).unwrap();
}

/// Returns the names in `index.json`, as another tool reads them.
fn names_of_others(layout: &Layout) -> Vec<String> {
    let text = std::fs::read(layout.dir().join("index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let entries = index["manifests"].as_array().unwrap().iter();
    let names = entries.filter_map(|entry| {
        let name = entry["annotations"]["org.opencontainers.image.ref.name"].as_str();
        name.map(str::to_owned)
    });
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// Returns a large store with three names, `a`, `b` and `c`, of which parts are written.
fn large() -> (tempfile::TempDir, Layout, Vec<(Descriptor, Vec<Digest>)>) {
    let (dir, layout) = layout();
    let (kept, _) = image(&layout, b"kept");
    layout.tag(&name("kept"), &kept, &Expect::Nothing).unwrap();
    enlarge(&layout, &kept);
    // A collection with something to remove seals `references`.
    drop(image(&layout, b"without a name"));
    assert!(!collected(&layout).is_empty());
    let images: Vec<_> = (0..5_u8).map(|number| image(&layout, &[number])).collect();
    for (text, (target, _)) in ["a", "b", "c"].into_iter().zip(&images) {
        layout.tag(&name(text), target, &Expect::Nothing).unwrap();
    }
    (dir, layout, images)
}

/// Returns whether a change of names wrote only a part of `index.json`: into the file that was the
/// version before.
fn writes_a_part(layout: &Layout, change: impl FnOnce()) -> bool {
    let inode = |file: &str| {
        let found = std::fs::metadata(layout.dir().join(file));
        found.map(|found| found.ino()).ok()
    };
    let before = inode("previous");
    change();
    before.is_some() && inode("index.json") == before
}

#[test]
fn a_change_of_a_large_list_of_names_writes_a_part_of_it() {
    let (_dir, layout, images) = large();
    let tag = |text: &str, number: usize| {
        let target = &images[number].0;
        layout.tag(&name(text), target, &Expect::Anything).unwrap();
    };
    let untag = |text: &str| layout.untag(&name(text)).unwrap();
    let other = |texts: &[&str]| -> Vec<String> {
        let names = texts.iter().chain(&["kept"]);
        let mut names: Vec<String> = names.map(|text| name(text).to_string()).collect();
        names.sort();
        names
    };
    assert!(writes_a_part(&layout, || tag("d", 3)));
    assert_eq!(names_of_others(&layout), other(&["a", "b", "c", "d"]));
    // One in the middle, the last, and both before the one that is last then.
    assert!(writes_a_part(&layout, || tag("b", 4)));
    assert!(writes_a_part(&layout, || tag("b", 3)));
    assert_eq!(names_of_others(&layout), other(&["a", "b", "c", "d"]));
    for (gone, left) in [
        ("c", &["a", "b", "d"][..]),
        ("d", &["a", "b"]),
        ("b", &["a"]),
        ("a", &[]),
    ] {
        assert!(writes_a_part(&layout, || drop(untag(gone))), "{gone}");
        assert_eq!(names_of_others(&layout), other(left));
        assert_eq!(layout.find(&name(gone)).unwrap(), None);
        assert!(is_sealed(&layout));
    }
    assert!(writes_a_part(&layout, || tag("e", 0)));
    assert_eq!(names_of_others(&layout), other(&["e"]));
    assert!(!collected(&layout).is_empty());
    assert_eq!(layout.sweep(true).unwrap(), Swept::default());
    // Blanks and added lines do not grow without end.
    let mut wholes = 0;
    for number in 0..300 {
        wholes += usize::from(!writes_a_part(&layout, || tag("e", number % 2)));
    }
    assert!((1..10).contains(&wholes), "{wholes}");
    let size = |file: &str| std::fs::metadata(layout.dir().join(file)).unwrap().len();
    assert!(size("index.json") < 4 * WORTH && size("positions") < 20_000);
}

#[test]
fn a_large_list_that_another_tool_writes_in_between_is_read_as_it_is() {
    let (_dir, layout, images) = large();
    let path = layout.dir().join("index.json");
    let shapes: [fn(&serde_json::Value) -> Vec<u8>; 2] = [
        |index| to_vec(index),
        |index| serde_json::to_vec_pretty(index).unwrap(),
    ];
    for (round, shape) in shapes.iter().cycle().take(4).enumerate() {
        layout
            .tag(&name("mine"), &images[1].0, &Expect::Anything)
            .unwrap();
        assert!(Positions::open(layout.dir()).is_some());
        let text = std::fs::read(&path).unwrap();
        let mut index: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let entries = index["manifests"].as_array_mut().unwrap();
        entries.retain(|entry| !entry.to_string().contains("mine"));
        let theirs = name(&format!("theirs{round}")).to_string();
        let mut entry = serde_json::to_value(&images[2].0).unwrap();
        entry["annotations"] = serde_json::json!({"org.opencontainers.image.ref.name": theirs});
        entries.push(entry);
        // Others write in place.
        fs::overwrite(&path, &shape(&index)).unwrap();
        assert!(Positions::open(layout.dir()).is_none());
        assert_eq!(layout.find(&name("mine")).unwrap(), None);
        let found = layout.find(&theirs.parse().unwrap()).unwrap().unwrap();
        assert_eq!(found.target, images[2].0);
        layout
            .tag(&name("new"), &images[3].0, &Expect::Anything)
            .unwrap();
        assert!(names_of_others(&layout).contains(&theirs));
        layout.untag(&name("c")).unwrap();
        layout.collect().unwrap();
        assert!(gone(&layout, &images[2].1).is_empty(), "theirs lead to it");
    }
}

#[test]
fn a_change_of_a_large_list_that_is_killed_leaves_the_names_as_they_were() {
    type Kill = fn(&Layout);
    let kills: [(&str, Kill); 6] = [
        ("while the version before was changed", |layout| {
            let path = layout.dir().join("previous");
            let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
            file.write_all_at(b"{\"half\":", WORTH).unwrap();
        }),
        ("before `difference` was written", |layout| {
            fs::remove_file(&layout.dir().join("difference")).unwrap();
        }),
        ("while `positions` was written", |layout| {
            let path = layout.dir().join("positions");
            let text = std::fs::read(&path).unwrap();
            fs::overwrite(&path, &text[..text.len() - 10]).unwrap();
        }),
        ("before `positions` was written", |layout| {
            fs::remove_file(&layout.dir().join("positions")).unwrap();
        }),
        ("before `references` was sealed", lose_seal),
        ("while the version before was copied", |layout| {
            let path = layout.dir().join("previous");
            fs::remove_file(&path).unwrap();
            std::fs::hard_link(layout.dir().join("index.json"), path).unwrap();
        }),
    ];
    let (_dir, layout, images) = large();
    for (title, kill) in kills {
        let before = names_of_others(&layout);
        kill(&layout);
        assert_eq!(names_of_others(&layout), before, "{title}");
        assert!(layout.find(&name("a")).unwrap().is_some(), "{title}");
        for text in ["x", "y", "x"] {
            layout
                .tag(&name(text), &images[3].0, &Expect::Anything)
                .unwrap();
        }
        assert_eq!(names_of_others(&layout).len(), before.len() + 2, "{title}");
        for text in ["x", "y"] {
            assert!(layout.untag(&name(text)).unwrap().is_some(), "{title}");
        }
        assert_eq!(names_of_others(&layout), before, "{title}");
        layout.collect().unwrap();
        assert_eq!(layout.sweep(true).unwrap(), Swept::default(), "{title}");
    }
}

#[test]
fn a_reader_of_a_large_list_sees_one_version_however_many_follow() {
    let (_dir, layout, images) = large();
    let file = fs::open_file(&layout.dir().join("index.json")).unwrap();
    let text = std::fs::read(layout.dir().join("index.json")).unwrap();
    for number in 0..6 {
        layout
            .tag(&name("a"), &images[number % 2].0, &Expect::Anything)
            .unwrap();
    }
    assert!(fs::read_open(&file, 1 << 20).unwrap() == text);
}

#[test]
fn collecting_finds_what_following_every_name_finds() {
    collecting_finds_everything(false);
}

#[test]
fn collecting_finds_what_following_every_name_finds_in_a_large_list_of_names() {
    collecting_finds_everything(true);
}

fn collecting_finds_everything(large: bool) {
    let (_dir, layout) = layout();
    if large {
        let (kept, _) = image(&layout, b"kept");
        layout.tag(&name("kept"), &kept, &Expect::Nothing).unwrap();
        enlarge(&layout, &kept);
        layout.untag(&name("kept")).unwrap();
    }
    let mut in_parts = 0;
    let mut model: std::collections::BTreeMap<Reference, Descriptor> =
        std::collections::BTreeMap::new();
    let mut random = 7_u32;
    let mut next = |most: u32| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 16) % most
    };
    for round in 0..80 {
        let name = name(&format!("n{}", next(12)));
        in_parts += usize::from(Positions::open(layout.dir()).is_some());
        match next(9) {
            8 => lose_seal(&layout),
            0 | 1 => {
                let removed = layout.untag(&name).unwrap();
                assert_eq!(removed, model.remove(&name));
            }
            // As other tools write it.
            2 => {
                let path = layout.dir().join("index.json");
                if let Ok(text) = std::fs::read(&path) {
                    let index: serde_json::Value = serde_json::from_slice(&text).unwrap();
                    fs::replace_file(&path, &serde_json::to_vec(&index).unwrap()).unwrap();
                }
            }
            3 => drop(image(&layout, &round.to_string().into_bytes())),
            _ => {
                let (target, _) = image(&layout, &next(9).to_string().into_bytes());
                let expect = match model.get(&name) {
                    Some(old) => Expect::This(old.digest.clone()),
                    None => Expect::Nothing,
                };
                layout.tag(&name, &target, &expect).unwrap();
                model.insert(name.clone(), target);
            }
        }
        assert_eq!(
            layout
                .find(&name)
                .unwrap()
                .map(|named| named.target)
                .as_ref(),
            model.get(&name)
        );
        let names = layout.names().unwrap().into_iter();
        assert!(
            names
                .map(|named| (named.name, named.target))
                .eq(model.clone())
        );
        if next(3) == 0 {
            layout.collect().unwrap();
            assert_eq!(
                layout.sweep(true).unwrap(),
                Swept::default(),
                "round {round}"
            );
        }
    }
    for target in model.values() {
        assert!(is_whole(&layout, target));
    }
    assert_eq!(in_parts > 20, large, "{in_parts}");
}

fn is_whole(layout: &Layout, target: &Descriptor) -> bool {
    let digests = store::reach::digests(layout, target).unwrap();
    digests.iter().all(|(_, size)| size.is_some())
}

#[test]
fn the_file_of_references_does_not_grow_without_end() {
    let (_dir, layout) = layout();
    for round in 0..5_u32 {
        // Flushed together.
        let lease = layout.lease_many().unwrap();
        let numbers = round * 80..(round + 1) * 80;
        let images: Vec<_> = numbers
            .map(|number| image_in(&*lease, &number.to_le_bytes()).0)
            .collect();
        lease.flush().unwrap();
        for target in images {
            layout.tag(&name("a"), &target, &Expect::Anything).unwrap();
        }
        drop(lease);
        layout.collect().unwrap();
    }
    layout.collect().unwrap();
    let size = std::fs::metadata(layout.dir().join("references"))
        .unwrap()
        .len();
    assert!(size < 300 * 400, "{size}");
    assert_eq!(layout.blobs().unwrap().len(), 4);
}

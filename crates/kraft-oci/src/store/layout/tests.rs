use std::io::Write;

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
    let hold = layout.hold().unwrap();
    let layer = store::put(&*hold, media::LAYER, content, None).unwrap();
    let config = store::put(&*hold, media::CONFIG, b"{}", None).unwrap();
    let manifest = Manifest {
        schema_version: 2,
        media_type: media::MANIFEST.to_owned(),
        config: config.clone(),
        layers: vec![layer.clone()],
        annotations: std::collections::BTreeMap::default(),
    };
    let manifest = store::put(&*hold, media::MANIFEST, &to_vec(&manifest), None).unwrap();
    let index = Index {
        schema_version: 2,
        media_type: media::INDEX.to_owned(),
        manifests: vec![manifest.clone()],
        annotations: std::collections::BTreeMap::default(),
    };
    let index = store::put(&*hold, media::INDEX, &to_vec(&index), None).unwrap();
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
    let hold = layout.hold().unwrap();
    let blob = store::put(&*hold, media::LAYER, b"held", None).unwrap();
    let mut unnamed = hold.ingest(&About::default()).unwrap().unwrap();
    unnamed.write_all(b"found out later").unwrap();
    let (late, size) = unnamed.commit().unwrap();
    assert_eq!(size, 15);
    assert_eq!(layout.sweep(false).unwrap(), Swept::default());
    drop(hold);
    assert_eq!(layout.sweep(false).unwrap().blobs.len(), 2);
    assert_eq!(layout.size(&blob.digest).unwrap(), None);
    assert_eq!(layout.size(&late).unwrap(), None);
}

#[test]
fn a_hold_of_a_process_that_died_holds_nothing() {
    let (_dir, layout) = layout();
    let hold = layout.hold().unwrap();
    let blob = store::put(&*hold, media::LAYER, b"x", None).unwrap();
    drop(hold);
    let left = layout.holds_dir().join("1-dead");
    fs::replace_file(&left, format!("{}\n", blob.digest.hex()).as_bytes()).unwrap();
    assert_eq!(layout.sweep(false).unwrap().blobs, [(blob.digest, 1)]);
    assert!(!left.exists());
}

#[test]
fn an_interrupted_blob_is_gone_on_with_and_a_wrong_one_forgotten() {
    let (_dir, layout) = layout();
    let hold = layout.hold().unwrap();
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let blob = Descriptor::of(media::LAYER, &bytes);

    let mut first = hold.ingest(&About::blob(&blob)).unwrap().unwrap();
    first.write_all(&bytes[..2_500_000]).unwrap();
    drop(first);
    assert_eq!(layout.size(&blob.digest).unwrap(), None);

    let mut second = hold.ingest(&About::blob(&blob)).unwrap().unwrap();
    let offset = usize::try_from(second.offset()).unwrap();
    assert!(offset > 1_000_000, "{offset}");
    second.write_all(&bytes[offset..]).unwrap();
    second.commit().unwrap();
    assert_eq!(store::read(&layout, &blob).unwrap(), bytes);
    assert!(hold.ingest(&About::blob(&blob)).unwrap().is_none());

    let wrong = Descriptor::of(media::LAYER, b"right");
    let mut ingest = hold.ingest(&About::blob(&wrong)).unwrap().unwrap();
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
    let hold = layout.hold().unwrap();
    let blob = Descriptor::of(media::LAYER, b"four");
    let mut ingest = hold.ingest(&About::blob(&blob)).unwrap().unwrap();
    assert!(ingest.write_all(b"four and more").is_err());
    drop(ingest);
    assert_eq!(layout.size(&blob.digest).unwrap(), None);
}

#[test]
fn starting_over_forgets_what_was_there() {
    let (_dir, layout) = layout();
    let hold = layout.hold().unwrap();
    let bytes = vec![7; 2_100_000];
    let blob = Descriptor::of(media::LAYER, &bytes);
    let mut ingest = hold.ingest(&About::blob(&blob)).unwrap().unwrap();
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
    let hold = layout.hold().unwrap();
    let stored = store::put(&*hold, media::LAYER, b"content", None).unwrap();
    for size in [0, 6, 8, u64::MAX] {
        let lie = Descriptor {
            size,
            ..stored.clone()
        };
        let error = hold.ingest(&About::blob(&lie)).unwrap_err();
        assert!(matches!(error, Error::Size { found: 7, .. }), "{error}");
        assert_eq!(layout.size(&stored.digest).unwrap(), Some(7));
    }
    // What the disk lost something of is taken again.
    fs::replace_file(&layout.blob(&stored.digest), b"cont").unwrap();
    let mut ingest = hold.ingest(&About::blob(&stored)).unwrap().unwrap();
    ingest.write_all(b"content").unwrap();
    assert_eq!(ingest.commit().unwrap(), (stored.digest, 7));
}

#[test]
fn what_a_document_that_makes_no_sense_mentions_is_not_swept() {
    let (_dir, layout) = layout();
    let hold = layout.hold().unwrap();
    let kept = store::put(&*hold, media::LAYER, b"mentioned", None).unwrap();
    let gone = store::put(&*hold, media::LAYER, b"not mentioned", None).unwrap();
    let odd = format!("{{\"manifests\": {{\"parts\": [\"{}\"]}}}}", kept.digest);
    let odd = store::put(&*hold, media::INDEX, odd.as_bytes(), None).unwrap();
    drop(hold);
    layout.tag(&name("odd"), &odd, &Expect::Nothing).unwrap();
    let swept = layout.sweep(false).unwrap();
    assert_eq!(swept.blobs, [(gone.digest, gone.size)]);
    assert!(layout.size(&odd.digest).unwrap().is_some());
}

#[test]
fn blobs_that_come_in_numbers_appear_when_they_are_settled() {
    let (_dir, layout) = layout();
    let hold = layout.hold_many().unwrap();
    let blobs: Vec<Vec<u8>> = (0..600_u32)
        .map(|number| number.to_le_bytes().repeat(1 + number as usize))
        .collect();
    let mut stored = Vec::new();
    for bytes in blobs.iter().chain(&blobs) {
        // The same once more is there already, though it waits.
        stored.push(store::put(&*hold, media::LAYER, bytes, None).unwrap());
    }
    let last = stored.last().unwrap();
    assert_eq!(layout.size(&last.digest).unwrap(), None);
    hold.settle().unwrap();
    hold.settle().unwrap();
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
    drop(hold);
    assert_eq!(layout.sweep(false).unwrap().blobs.len(), 600);
}

#[test]
fn what_was_put_off_by_somebody_who_died_is_taken_again() {
    let (_dir, layout) = layout();
    let hold = layout.hold_many().unwrap();
    let blob = store::put(&*hold, media::LAYER, b"put off", None).unwrap();
    drop(hold);
    assert_eq!(layout.size(&blob.digest).unwrap(), None);
    let hold = layout.hold().unwrap();
    let again = store::put(&*hold, media::LAYER, b"put off", None).unwrap();
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

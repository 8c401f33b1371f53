use std::io::Read;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::*;
use crate::image::media;
use crate::store::layout::Layout;
use crate::store::{Expect, Lease, ListingCache, Swept, put};

/// A layout whose state is set by the test, and which counts the blobs that are opened.
#[derive(Debug)]
struct Counted {
    layout: Layout,
    state: Mutex<Option<String>>,
    opened: AtomicUsize,
}

impl Counted {
    fn state(&self, state: &str) {
        *self.state.lock().unwrap() = Some(state.to_owned());
    }

    /// Lists; returns the listing as text, and the number of blobs that were opened.
    fn list(&self) -> (String, usize) {
        self.opened.store(0, Ordering::Relaxed);
        let listing = list(self, &|_, _| true).unwrap();
        (shown(&listing), self.opened.load(Ordering::Relaxed))
    }

    /// Lists from the blobs alone.
    fn fresh(&self) -> String {
        let names = self.layout.names().unwrap();
        let mut listing = Listing::default();
        for named in names {
            match rows_of(&self.layout, &named) {
                Ok(rows) => listing.rows.extend(rows),
                Err(error) => listing.unreadable.push((named.name, error)),
            }
        }
        shown(&listing)
    }
}

fn shown(listing: &Listing) -> String {
    format!("{:#?}\n{:#?}", listing.rows, listing.unreadable)
}

impl Blobs for Counted {
    fn open(&self, digest: &Digest) -> Result<Box<dyn Read + Send>, Error> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        self.layout.open(digest)
    }

    fn size(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        self.layout.size(digest)
    }
}

impl Store for Counted {
    fn listing_cache(&self) -> Option<ListingCache> {
        Some(ListingCache {
            path: self.layout.listing_cache().unwrap().path,
            state: self.state.lock().unwrap().clone(),
        })
    }

    fn place(&self) -> String {
        self.layout.place()
    }

    fn lease(&self) -> Result<Box<dyn Lease>, Error> {
        self.layout.lease()
    }

    fn names(&self) -> Result<Vec<Named>, Error> {
        self.layout.names()
    }

    fn tag(&self, name: &Reference, target: &Descriptor, expect: &Expect) -> Result<(), Error> {
        self.layout.tag(name, target, expect)
    }

    fn untag(&self, name: &Reference) -> Result<Option<Descriptor>, Error> {
        self.layout.untag(name)
    }

    fn blobs(&self) -> Result<Vec<(Digest, u64)>, Error> {
        self.layout.blobs()
    }

    fn discard(&self, digest: &Digest) -> Result<(), Error> {
        self.layout.discard(digest)
    }

    fn sweep(&self, dry_run: bool) -> Result<Swept, Error> {
        self.layout.sweep(dry_run)
    }
}

fn name(text: &str) -> Reference {
    format!("x.io/{text}:v1").parse().unwrap()
}

fn entry(descriptor: &Descriptor, platform: &Value) -> Value {
    json!({"mediaType": descriptor.media_type, "digest": descriptor.digest, "size": 32,
           "platform": platform})
}

fn qemu() -> Value {
    json!({"os": "qemu", "architecture": "x86_64", "os.features": ["CONFIG_A=y", "CONFIG_B=\u{1e}"]})
}

fn index(lease: &dyn Lease, entries: &[Value]) -> Descriptor {
    let index = json!({"schemaVersion": 2, "manifests": entries});
    put(lease, media::INDEX, index.to_string().as_bytes(), None).unwrap()
}

fn manifest(lease: &dyn Lease, number: usize) -> Descriptor {
    let blob =
        json!({"mediaType": media::CONFIG, "digest": crate::digest::of(b""), "size": number});
    let manifest = json!({"schemaVersion": 2, "config": blob, "layers": [blob]});
    put(
        lease,
        media::MANIFEST,
        manifest.to_string().as_bytes(),
        None,
    )
    .unwrap()
}

/// A store of some images with two manifests, of which one is absent.
fn store() -> (tempfile::TempDir, Counted) {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::open(&dir.path().join("images")).unwrap();
    let lease = layout.lease().unwrap();
    let absent = Descriptor::of(media::MANIFEST, b"elsewhere");
    let arm = json!({"os": "fc", "architecture": "arm64", "variant": "v8", "os.version": "0.20"});
    let linux = json!({"os": "linux", "architecture": "amd64"});
    let mut names = Vec::new();
    for number in 0..WORTH_A_CACHE {
        let here = manifest(&*lease, number);
        let target = match number {
            // No unikernel.
            0 => index(&*lease, &[entry(&here, &linux)]),
            _ => index(&*lease, &[entry(&here, &qemu()), entry(&absent, &arm)]),
        };
        let image = Named {
            name: name(&format!("n{number}")),
            target,
            since: None,
        };
        names.push((image, Expect::Nothing));
    }
    layout.tag_many(&names).unwrap();
    drop(lease);
    let counted = Counted {
        layout,
        state: Mutex::new(Some("a".to_owned())),
        opened: AtomicUsize::new(0),
    };
    (dir, counted)
}

#[test]
fn rows_come_from_the_cache_while_nothing_changes() {
    let (_dir, store) = store();
    let fresh = store.fresh();
    assert!(
        fresh.contains("CONFIG_B") && fresh.contains("v8"),
        "{fresh}"
    );
    let (first, opened) = store.list();
    assert!(opened >= 2 * WORTH_A_CACHE, "{opened}");
    assert_eq!(first, fresh);
    assert_eq!(store.list(), (fresh.clone(), 0));
    let arm = list(&store, &|os, arch| (os, arch) == ("fc", "arm64")).unwrap();
    assert_eq!(arm.rows.len(), WORTH_A_CACHE - 1);
    assert!(arm.rows.iter().all(|row| row.platform.os == "fc"));
    // In another state only what changed is read.
    for state in ["b", "c"] {
        store.state(state);
        assert_eq!(store.list(), (fresh.clone(), 0), "{state}");
    }
}

#[test]
fn a_state_that_is_not_known_yet_uses_only_rows_whose_blobs_are_as_before() {
    let (_dir, store) = store();
    *store.state.lock().unwrap() = None;
    let fresh = store.fresh();
    store.list();
    assert_eq!(store.list(), (fresh, 0));
    let first = list(&store, &|_, _| true).unwrap().rows[0].clone();
    store.discard(&first.manifest).unwrap();
    let (shown, opened) = store.list();
    assert_eq!((shown, opened > 0), (store.fresh(), true));
}

#[test]
fn the_first_line_shows_which_platforms_have_no_row() {
    let (_dir, store) = store();
    store.list();
    let place = store.listing_cache().unwrap();
    let none = |place: &ListingCache, wanted: [&str; 2]| {
        cache::has_none(place, &|os, arch| [os, arch] == wanted)
    };
    for (wanted, expected) in [
        (["xen", "x86_64"], true),
        (["qemu", "arm64"], true),
        (["qemu", "x86_64"], false),
        (["fc", "arm64"], false),
        // An image without a unikernel has no rows.
        (["-", "-"], true),
    ] {
        assert_eq!(none(&place, wanted), expected, "{wanted:?}");
    }
    let mut other = place.clone();
    for state in [None, Some("b".to_owned())] {
        other.state = state;
        assert!(!none(&other, ["xen", "x86_64"]), "{other:?}");
    }
    let text = std::fs::read(&place.path).unwrap();
    let first = text.iter().position(|byte| *byte == b'\n').unwrap();
    for at in 0..first {
        let mut spoilt = text.clone();
        spoilt[at] ^= 1;
        kraft_sys::fs::overwrite(&place.path, &spoilt).unwrap();
        assert!(!none(&place, ["xen", "x86_64"]), "{at}");
    }
}

#[test]
fn a_cache_that_is_lost_or_broken_is_made_again() {
    let (_dir, store) = store();
    let fresh = store.fresh();
    store.list();
    let path = store.listing_cache().unwrap().path;
    let whole = std::fs::read(&path).unwrap();
    let with = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = whole.clone();
        edit(&mut bytes);
        bytes
    };
    // Other lines, rightly summed up.
    let summed = |lines: &str| {
        let crc = |text: &str| format!("{:08x}", crc32fast::hash(text.as_bytes()));
        let head = format!("kraft-rows-2\ta\t{}\tqemu\tx86_64", crc(lines));
        format!("{head}\t{}\n{lines}", crc(&head)).into_bytes()
    };
    let text = String::from_utf8(whole.clone()).unwrap();
    let lines = text.split_once('\n').unwrap().1;
    let spoiled: [(&str, Vec<u8>); 12] = [
        ("empty", Vec::new()),
        ("cut short", with(&|bytes| bytes.truncate(bytes.len() / 2))),
        (
            "without a line",
            with(&|bytes| {
                let last = text.trim_end().rfind('\n').unwrap();
                bytes.truncate(last + 1);
            }),
        ),
        ("zeros", with(&|bytes| bytes.fill(0))),
        ("some zeros", with(&|bytes| bytes[200..400].fill(0))),
        ("one bit", with(&|bytes| bytes[300] ^= 1)),
        ("no text", with(&|bytes| bytes[300] = 0xff)),
        ("of another version", with(&|bytes| bytes[11] = b'1')),
        ("something else", b"hello world\n".to_vec()),
        (
            "nonsense",
            summed("a\tb\tc\td\n\n\t\t\t\t\t\t\t\t\t\t\t\t\n"),
        ),
        ("bad digests", summed(&lines.replace("sha256:", "sha257:"))),
        ("bad sizes", summed(&lines.replace("\t63\t", "\tx\t"))),
    ];
    for (title, bytes) in spoiled {
        kraft_sys::fs::replace_file(&path, &bytes).unwrap();
        assert_eq!(store.list().0, fresh, "{title}");
        assert_eq!(store.list(), (fresh.clone(), 0), "{title}");
    }
    kraft_sys::fs::remove_file(&path).unwrap();
    kraft_sys::fs::create_dir(&path, 0o700).unwrap();
    assert_eq!(store.list().0, fresh, "a directory");
}

#[test]
fn changes_of_names_and_blobs_show() {
    let (_dir, store) = store();
    store.list();
    let lease = store.lease().unwrap();
    let row = list(&store, &|_, _| true).unwrap().rows[0].clone();
    let other = list(&store, &|_, _| true).unwrap().rows[2].clone();
    let text = |digest: &Digest| {
        let mut text = Vec::new();
        store.open(digest).unwrap().read_to_end(&mut text).unwrap();
        text
    };
    let (target, of_manifest) = (text(&other.index), text(&row.manifest));
    let new = index(&*lease, &[entry(&manifest(&*lease, 7777), &qemu())]);
    let changes: [(&str, &dyn Fn()); 8] = [
        ("a new image", &|| {
            store.tag(&name("new"), &new, &Expect::Nothing).unwrap();
        }),
        ("a name is moved", &|| {
            store.tag(&row.name, &new, &Expect::Anything).unwrap();
        }),
        ("a name is removed", &|| {
            store.untag(&name("new")).unwrap();
        }),
        ("a manifest vanishes", &|| {
            store.discard(&row.manifest).unwrap();
        }),
        ("its image comes back", &|| {
            let target = Descriptor::new(media::INDEX, row.index.clone(), 1);
            store.tag(&name("back"), &target, &Expect::Nothing).unwrap();
        }),
        ("the manifest comes back", &|| {
            put(&*lease, media::MANIFEST, &of_manifest, None).unwrap();
        }),
        ("an index vanishes", &|| {
            store.discard(&other.index).unwrap();
        }),
        ("the index comes back", &|| {
            put(&*lease, media::INDEX, &target, None).unwrap();
        }),
    ];
    for (number, (title, change)) in changes.iter().enumerate() {
        change();
        store.state(&format!("state {number}"));
        let fresh = store.fresh();
        assert_eq!(store.list().0, fresh, "{title}");
        assert_eq!(store.list().0, fresh, "{title}, again");
    }
}

#[test]
fn images_that_depend_on_more_than_their_manifests_are_read_each_time() {
    let (_dir, store) = store();
    let lease = store.lease().unwrap();
    let inner = json!({"schemaVersion": 2,
                       "manifests": [entry(&manifest(&*lease, 8888), &qemu())]})
    .to_string();
    let absent = Descriptor::of(media::INDEX, inner.as_bytes());
    let odd = json!({"os": "qemu", "architecture": "a\tb\nc"});
    for (text, target) in [
        ("nested", index(&*lease, &[entry(&absent, &Value::Null)])),
        (
            "odd",
            index(&*lease, &[entry(&manifest(&*lease, 9999), &odd)]),
        ),
        // Its platform is in its configuration, which is absent.
        ("alone", manifest(&*lease, 6666)),
    ] {
        store.tag(&name(text), &target, &Expect::Nothing).unwrap();
    }
    let fresh = store.fresh();
    for _ in 0..3 {
        let (shown, opened) = store.list();
        assert_eq!(shown, fresh);
        assert!(opened > 0);
    }
    put(&*lease, media::INDEX, inner.as_bytes(), None).unwrap();
    assert_ne!(store.fresh(), fresh);
    assert_eq!(store.list().0, store.fresh());
}

#[test]
fn a_few_images_are_listed_without_a_cache() {
    let (_dir, store) = store();
    store.untag(&name("n1")).unwrap();
    store.list();
    assert!(!store.listing_cache().unwrap().path.exists());
    assert_eq!(store.list().0, store.fresh());
}

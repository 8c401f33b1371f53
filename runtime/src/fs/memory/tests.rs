use super::*;
use crate::arch::machine;

fn new(kind: Kind) -> NewNode {
    NewNode {
        kind,
        permissions: 0o644,
        user: 0,
        group: 0,
        device_number: 0,
        target: if kind == Kind::Link {
            b"target".to_vec()
        } else {
            Vec::new()
        },
    }
}

fn read(node: &Rc<dyn Node>, offset: u64, length: usize) -> Vec<u8> {
    let mut bytes = alloc::vec![0xaa; length];
    let mut out = Output::kernel(&mut bytes);
    let done = node.read(offset, &mut out).unwrap();
    bytes.truncate(done);
    bytes
}

fn write(node: &Rc<dyn Node>, offset: u64, bytes: &[u8]) -> Result {
    node.write(offset, &mut Input::kernel(bytes))
}

fn resize(node: &Rc<dyn Node>, size: u64) -> Result<()> {
    node.change(&Change {
        size: Some(size),
        ..Change::default()
    })
}

fn file() -> Rc<dyn Node> {
    new_file(0o600)
}

fn names(node: &Rc<MemoryNode>) -> Vec<Vec<u8>> {
    let entries = node.entries(0, usize::MAX).unwrap();
    entries
        .into_iter()
        .map(|entry| entry.name.to_vec())
        .collect()
}

#[test]
fn attributes_are_kept_until_they_are_removed() {
    let _machine = machine();
    let node = file();
    assert_eq!(node.attribute(b"user.a"), Err(Errno::NODATA));
    let set = |name: &[u8], length: usize, before| {
        node.set_attribute(name, alloc::vec![7; length], before)
    };
    assert_eq!(set(b"user.a", 1, Before::Present), Err(Errno::NODATA));
    assert_eq!(set(b"user.b", 0, Before::Missing), Ok(()));
    assert_eq!(set(b"user.a", 3, Before::Any), Ok(()));
    assert_eq!(set(b"user.a", 3, Before::Missing), Err(Errno::EXIST));
    assert_eq!(set(b"user.a", 2, Before::Present), Ok(()));
    assert_eq!(node.attribute_names(), b"user.a\0user.b\0");
    assert_eq!(*node.attribute(b"user.a").unwrap(), [7, 7]);
    assert_eq!(set(b"user.c", 64 << 10, Before::Any), Ok(()));
    assert_eq!(set(b"user.d", 64 << 10, Before::Any), Err(Errno::NOSPC));
    assert_eq!(set(b"user.c", 1, Before::Any), Ok(()));
    assert_eq!(node.remove_attribute(b"user.a"), Ok(()));
    assert_eq!(node.remove_attribute(b"user.a"), Err(Errno::NODATA));
    assert_eq!(node.attribute_names(), b"user.b\0user.c\0");
}

#[test]
fn a_file_keeps_what_is_written() {
    let _machine = machine();
    let node = file();
    let bytes: Vec<u8> = (0..10_000_u32).map(|i| i as u8).collect();
    assert_eq!(write(&node, 100, &bytes), Ok(10_000));
    assert_eq!(node.metadata().size, 10_100);
    assert_eq!(read(&node, 0, 100), [0; 100]);
    assert_eq!(read(&node, 100, 20_000), bytes);
    assert_eq!(read(&node, 5_000, 10), bytes[4_900..4_910]);
    assert_eq!(read(&node, 10_100, 10), []);
    assert_eq!(read(&node, u64::MAX, 10), []);
}

#[test]
fn holes_are_zeros() {
    let _machine = machine();
    let node = file();
    write(&node, 1 << 40, b"end").unwrap();
    assert_eq!(read(&node, (1 << 40) - 2, 10), b"\0\0end");
    assert_eq!(read(&node, 1 << 30, 5), [0; 5]);
    assert_eq!(write(&node, LONGEST, b"x"), Err(Errno::FBIG));
    assert_eq!(write(&node, LONGEST - 1, b"xy"), Ok(1));
    assert_eq!(resize(&node, LONGEST + 1), Err(Errno::FBIG));
}

#[test]
fn what_is_cut_off_does_not_come_back() {
    let _machine = machine();
    let node = file();
    write(&node, 0, &[7; 3 * PAGE]).unwrap();
    resize(&node, PAGE as u64 + 10).unwrap();
    resize(&node, 3 * PAGE as u64).unwrap();
    let read = read(&node, 0, 4 * PAGE);
    assert_eq!(read.len(), 3 * PAGE);
    assert!(read[..PAGE + 10].iter().all(|&byte| byte == 7));
    assert!(read[PAGE + 10..].iter().all(|&byte| byte == 0));
}

#[test]
fn a_file_of_the_archive_is_copied_where_it_is_written() {
    let _machine = machine();
    static ARCHIVED: [u8; 2 * PAGE + 5] = [3; 2 * PAGE + 5];
    let node = new_file(0o600);
    node.set_archived(&ARCHIVED);
    let any: Rc<dyn Node> = node;
    write(&any, PAGE as u64 + 1, b"new").unwrap();
    let mut expected = ARCHIVED.to_vec();
    expected[PAGE + 1..PAGE + 4].copy_from_slice(b"new");
    assert_eq!(read(&any, 0, 5 * PAGE), expected);
    write(&any, 3 * PAGE as u64, b"x").unwrap();
    expected.resize(3 * PAGE, 0);
    expected.push(b'x');
    assert_eq!(read(&any, 0, 5 * PAGE), expected);
    resize(&any, 10).unwrap();
    resize(&any, 20).unwrap();
    assert_eq!(read(&any, 0, 50), [&[3; 10][..], &[0; 10]].concat());
    let frame = any.page(0).unwrap();
    frame.with(|page| assert_eq!(page[..20], [&[3; 10][..], &[0; 10]].concat()));
    assert_eq!(any.page(1).err(), Some(Errno::NXIO));
}

#[test]
fn names_are_made_linked_and_removed() {
    let _machine = machine();
    let root = new_tree(0o755);
    let node = root.create(b"a", &new(Kind::File)).unwrap();
    assert_eq!(
        root.create(b"a", &new(Kind::File)).err(),
        Some(Errno::EXIST)
    );
    assert_eq!(
        root.create(&[b'n'; 256], &new(Kind::File)).err(),
        Some(Errno::NAMETOOLONG)
    );
    root.link(b"b", &node).unwrap();
    assert_eq!(node.metadata().links, 2);
    assert_eq!(root.remove(b"a", true), Err(Errno::NOTDIR));
    root.remove(b"a", false).unwrap();
    assert_eq!(root.remove(b"a", false), Err(Errno::NOENT));
    assert_eq!(node.metadata().links, 1);
    let directory = root.create(b"d", &new(Kind::Directory)).unwrap();
    assert_eq!(root.metadata().links, 3);
    assert_eq!(root.link(b"e", &directory), Err(Errno::PERM));
    directory.create(b"x", &new(Kind::Link)).unwrap();
    assert_eq!(root.remove(b"d", false), Err(Errno::ISDIR));
    assert_eq!(root.remove(b"d", true), Err(Errno::NOTEMPTY));
    assert_eq!(directory.lookup(b"x").unwrap().target().unwrap(), b"target");
    directory.remove(b"x", false).unwrap();
    root.remove(b"d", true).unwrap();
    assert_eq!(root.metadata().links, 2);
    assert_eq!(
        directory.create(b"y", &new(Kind::File)).err(),
        Some(Errno::NOENT),
        "a removed directory stays empty"
    );
    let other = new_tree(0o755);
    assert_eq!(other.link(b"c", &node), Err(Errno::XDEV));
    assert_eq!(node.lookup(b"x").err(), Some(Errno::NOTDIR));
}

#[test]
fn a_rename_replaces_what_may_go() {
    let _machine = machine();
    let root = new_tree(0o755);
    let any: Rc<dyn Node> = root.clone();
    let a = root.create(b"a", &new(Kind::File)).unwrap();
    let b = root.create(b"b", &new(Kind::File)).unwrap();
    let d = root.create(b"d", &new(Kind::Directory)).unwrap();
    let e = root.create(b"e", &new(Kind::Directory)).unwrap();
    root.rename(b"a", &any, b"b", false).unwrap();
    assert_eq!(b.metadata().links, 0);
    assert!(Rc::ptr_eq(&root.lookup(b"b").unwrap(), &a));
    assert_eq!(root.rename(b"b", &any, b"d", false), Err(Errno::ISDIR));
    assert_eq!(root.rename(b"d", &any, b"b", false), Err(Errno::NOTDIR));
    assert_eq!(root.rename(b"no", &any, b"b", false), Err(Errno::NOENT));
    root.rename(b"b", &d, b"f", false).unwrap();
    assert_eq!(root.rename(b"e", &any, b"d", false), Err(Errno::NOTEMPTY));
    root.rename(b"d", &any, b"e", false).unwrap();
    assert_eq!(e.metadata().links, 0);
    assert_eq!(names(&root), [b"e"]);
    root.create(b"g", &new(Kind::File)).unwrap();
    root.rename(b"g", &d, b"f", true).unwrap();
    assert!(Rc::ptr_eq(&root.lookup(b"g").unwrap(), &a));
    // Two names of one node: nothing happens.
    root.link(b"h", &a).unwrap();
    root.rename(b"g", &any, b"h", false).unwrap();
    assert_eq!(a.metadata().links, 2);
    assert_eq!(
        root.rename(b"g", &any, &[b'n'; 256], false),
        Err(Errno::NAMETOOLONG)
    );
    assert!(
        root.lookup(b"g").is_ok(),
        "a rename that fails changes nothing"
    );
}

#[test]
fn a_directory_can_be_emptied_while_it_is_read() {
    let _machine = machine();
    let root = new_tree(0o755);
    for index in 0..500 {
        let name = alloc::format!("file{index}");
        root.create(name.as_bytes(), &new(Kind::File)).unwrap();
    }
    let mut position = 0;
    let mut seen = 0;
    loop {
        // A few at a time, as a program with a small buffer reads.
        let entries = root.entries(position, 7).unwrap();
        if entries.is_empty() {
            break;
        }
        assert!(entries.len() <= 7);
        for entry in entries {
            position = entry.next;
            root.remove(&entry.name, false).unwrap();
            seen += 1;
        }
    }
    assert_eq!(seen, 500);
    assert!(names(&root).is_empty());
}

#[test]
fn set_group_directories_pass_their_group_on() {
    let _machine = machine();
    let root = new_tree(0o755);
    let directory = root.create(b"d", &new(Kind::Directory)).unwrap();
    directory
        .change(&Change {
            permissions: Some(0o2775),
            group: Some(7),
            ..Change::default()
        })
        .unwrap();
    let inner = directory.create(b"i", &new(Kind::Directory)).unwrap();
    assert_eq!(inner.metadata().group, 7);
    assert_eq!(inner.metadata().permissions & 0o2000, 0o2000);
}

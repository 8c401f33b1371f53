use super::*;
use crate::arch::machine;
use crate::fs::{Change, NewNode, memory};

struct Tree {
    root: Rc<Place>,
    credentials: Credentials,
}

impl Tree {
    /// `/dir/sub/file` and what the tests add.
    fn new() -> Tree {
        let root: Rc<dyn Node> = memory::new_tree(0o755);
        let tree = Tree {
            root: Place::root(root),
            credentials: Credentials::default(),
        };
        tree.make(b"/dir", Kind::Directory, b"");
        tree.make(b"/dir/sub", Kind::Directory, b"");
        tree.make(b"/dir/sub/file", Kind::File, b"");
        tree
    }

    fn walk(&self) -> Walk<'_> {
        Walk {
            root: self.root.clone(),
            credentials: &self.credentials,
        }
    }

    fn make(&self, path: &[u8], kind: Kind, target: &[u8]) -> Rc<dyn Node> {
        let (parent, name) = self.walk().resolve_parent(&self.root, path).unwrap();
        let new = NewNode {
            kind,
            permissions: 0o755,
            user: 0,
            group: 0,
            device_number: 0,
            target: target.to_vec(),
        };
        parent.node.create(&name, &new).unwrap()
    }

    fn find(&self, path: &[u8]) -> Result<Vec<u8>> {
        let place = self.walk().resolve(&self.root, path, Follow::Yes)?;
        Ok(place.path_from(&self.root))
    }
}

#[test]
fn paths_lead_to_places() {
    let _machine = machine();
    let tree = Tree::new();
    for (path, found) in [
        (&b"/"[..], &b"/"[..]),
        (b"dir/sub/file", b"/dir/sub/file"),
        (b"//dir/./sub//../sub/file", b"/dir/sub/file"),
        (b"/../../dir/..", b"/"),
        (b"dir/sub/", b"/dir/sub"),
    ] {
        assert_eq!(tree.find(path).unwrap(), found);
    }
    for (path, error) in [
        (&b""[..], Errno::NOENT),
        (b"/no", Errno::NOENT),
        (b"/no/file", Errno::NOENT),
        (b"/dir/sub/file/", Errno::NOTDIR),
        (b"/dir/sub/file/x", Errno::NOTDIR),
        (b"/dir/sub/file/..", Errno::NOTDIR),
        (&[b'x'; 256], Errno::NAMETOOLONG),
        (&[b'/'; 4097], Errno::NAMETOOLONG),
    ] {
        assert_eq!(tree.find(path), Err(error));
    }
}

#[test]
fn links_are_followed() {
    let _machine = machine();
    let tree = Tree::new();
    tree.make(b"/up", Kind::Link, b"dir/sub");
    tree.make(b"/dir/sub/over", Kind::Link, b"../../up/file");
    tree.make(b"/absolute", Kind::Link, b"/dir/");
    tree.make(b"/dangling", Kind::Link, b"nowhere");
    assert_eq!(tree.find(b"/up/file").unwrap(), b"/dir/sub/file");
    assert_eq!(tree.find(b"/dir/sub/over").unwrap(), b"/dir/sub/file");
    assert_eq!(tree.find(b"/absolute/sub").unwrap(), b"/dir/sub");
    assert_eq!(tree.find(b"/up/..").unwrap(), b"/dir");
    assert_eq!(tree.find(b"/dangling"), Err(Errno::NOENT));
    let walk = tree.walk();
    let link = walk.resolve(&tree.root, b"/up", Follow::No).unwrap();
    assert_eq!(link.node.kind(), Kind::Link);
    let followed = walk.resolve(&tree.root, b"/up/", Follow::No).unwrap();
    assert_eq!(followed.node.kind(), Kind::Directory);
}

#[test]
fn loops_end() {
    let _machine = machine();
    let tree = Tree::new();
    tree.make(b"/a", Kind::Link, b"b");
    tree.make(b"/b", Kind::Link, b"a");
    tree.make(b"/self", Kind::Link, b"self/self");
    tree.make(b"/many", Kind::Link, b"many/many/many/many");
    for path in [&b"/a"[..], b"/self", b"/many/x"] {
        assert_eq!(tree.find(path), Err(Errno::LOOP));
    }
    for index in 0..50 {
        let (name, target) = (
            alloc::format!("/l{index}"),
            alloc::format!("l{}", index + 1),
        );
        tree.make(name.as_bytes(), Kind::Link, target.as_bytes());
    }
    tree.make(b"/l50", Kind::File, b"");
    assert_eq!(tree.find(b"/l10").unwrap(), b"/l50");
    assert_eq!(tree.find(b"/l9"), Err(Errno::LOOP));
}

#[test]
fn a_root_cannot_be_left() {
    let _machine = machine();
    let tree = Tree::new();
    tree.make(b"/dir/out", Kind::Link, b"../../..");
    let walk = tree.walk();
    let inner = walk.resolve(&tree.root, b"/dir", Follow::Yes).unwrap();
    let jail = Walk {
        root: inner.clone(),
        credentials: &tree.credentials,
    };
    for path in [&b"/.."[..], b"../..", b"/out", b"sub/../../.."] {
        let place = jail.resolve(&inner, path, Follow::Yes).unwrap();
        assert!(place.is(&inner));
    }
    assert_eq!(
        jail.resolve(&inner, b"/dir", Follow::Yes).err(),
        Some(Errno::NOENT)
    );
}

#[test]
fn the_parent_of_what_is_to_be_made_is_found() {
    let _machine = machine();
    let tree = Tree::new();
    let parent = |path: &[u8]| {
        let (place, name) = tree.walk().resolve_parent(&tree.root, path)?;
        Ok((place.path_from(&tree.root), name))
    };
    assert_eq!(parent(b"/dir/new"), Ok((b"/dir".to_vec(), b"new".to_vec())));
    assert_eq!(parent(b"new//"), Ok((b"/".to_vec(), b"new".to_vec())));
    assert_eq!(parent(b"/dir/.."), Ok((b"/".to_vec(), Vec::new())));
    assert_eq!(parent(b"/"), Ok((b"/".to_vec(), Vec::new())));
    assert_eq!(parent(b"/dir/sub/file/x"), Err(Errno::NOTDIR));
    assert_eq!(parent(b"/no/x"), Err(Errno::NOENT));
    assert_eq!(parent(b""), Err(Errno::NOENT));
}

#[test]
fn directories_that_may_not_be_searched_are_closed() {
    let _machine = machine();
    let mut tree = Tree::new();
    let closed = tree
        .walk()
        .resolve(&tree.root, b"/dir", Follow::Yes)
        .unwrap();
    let permissions = |bits| Change {
        permissions: Some(bits),
        user: Some(5),
        group: Some(6),
        ..Change::default()
    };
    closed.node.change(&permissions(0o710)).unwrap();
    assert!(tree.find(b"/dir/sub/file").is_ok(), "root may");
    tree.credentials.users = [7; 3];
    assert_eq!(tree.find(b"/dir/sub/file"), Err(Errno::ACCES));
    assert!(tree.find(b"/dir").is_ok());
    tree.credentials.others = alloc::vec![6];
    assert!(tree.find(b"/dir/sub/file").is_ok(), "the group may");
    tree.credentials.users = [5; 3];
    closed.node.change(&permissions(0o077)).unwrap();
    assert_eq!(
        tree.find(b"/dir/sub"),
        Err(Errno::ACCES),
        "the owner may not"
    );
}

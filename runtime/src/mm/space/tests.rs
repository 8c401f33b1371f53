use super::*;
use crate::fs::{Change, memory};
use crate::mm::frames::free_bytes;
use crate::testing::{MEMORY, System, system, zeros};

const AT: usize = 0x4000_0000;
const READ_WRITE: Protection = Protection::READ.union(Protection::WRITE);

fn area(space: &Space) -> Vec<(usize, usize, Protection)> {
    space
        .areas()
        .into_iter()
        .filter(|&(start, _)| start >= AT)
        .map(|(start, area)| (start - AT, area.end - AT, area.protection))
        .collect()
}

fn read(space: &Space, address: usize) -> Result<u8> {
    let mut byte = [0];
    space.read(address, &mut byte)?;
    Ok(byte[0])
}

fn file(pages: u64) -> Rc<dyn Node> {
    let node: Rc<dyn Node> = memory::new_file(0o600);
    let size = Some(pages * PAGE as u64);
    node.change(&Change {
        size,
        ..Change::default()
    })
    .unwrap();
    for page in 0..pages {
        let byte = [page as u8 + 1];
        node.write(
            page * PAGE as u64,
            &mut crate::file::io::Input::kernel(&byte),
        )
        .unwrap();
    }
    node
}

fn of_file(node: &Rc<dyn Node>, shared: bool) -> Area {
    Area {
        end: 0,
        protection: READ_WRITE,
        shared,
        backing: Backing::File {
            node: node.clone(),
            offset: 0,
            end: u64::MAX,
            place: None,
            read_only: false,
        },
    }
}

fn map(system: &System, pages: usize) {
    system
        .space
        .map_at(AT, pages * PAGE, zeros(READ_WRITE))
        .unwrap();
}

#[test]
fn a_range_can_be_cut_out_and_put_back() {
    let system = system();
    let space = &system.space;
    map(&system, 10);
    space.write(AT + 4 * PAGE, b"x").unwrap();
    space.unmap(AT + 3 * PAGE, 3 * PAGE).unwrap();
    assert_eq!(
        area(space),
        [(0, 3 * PAGE, READ_WRITE), (6 * PAGE, 10 * PAGE, READ_WRITE)]
    );
    assert_eq!(read(space, AT + 4 * PAGE), Err(Errno::FAULT));
    space
        .map_at(AT + 3 * PAGE, 3 * PAGE, zeros(READ_WRITE))
        .unwrap();
    assert_eq!(read(space, AT + 4 * PAGE), Ok(0));
    space.unmap(AT, 10 * PAGE).unwrap();
    assert!(area(space).is_empty());
    assert!(space.is_free(AT, 10 * PAGE));
}

#[test]
fn protection_splits_and_joins_areas() {
    let system = system();
    let space = &system.space;
    map(&system, 4);
    space.write(AT + PAGE, b"y").unwrap();
    space.protect(AT + PAGE, PAGE, Protection::READ).unwrap();
    assert_eq!(
        area(space),
        [
            (0, PAGE, READ_WRITE),
            (PAGE, 2 * PAGE, Protection::READ),
            (2 * PAGE, 4 * PAGE, READ_WRITE)
        ]
    );
    assert_eq!(space.write(AT + PAGE, b"z"), Err(Errno::FAULT));
    assert_eq!(read(space, AT + PAGE), Ok(b'y'));
    space.protect(AT + PAGE, PAGE, Protection::empty()).unwrap();
    assert_eq!(read(space, AT + PAGE), Err(Errno::FAULT));
    space.protect(AT + PAGE, PAGE, READ_WRITE).unwrap();
    assert_eq!(area(space), [(0, 4 * PAGE, READ_WRITE)]);
    assert_eq!(read(space, AT + PAGE), Ok(b'y'));
    space.write(AT + PAGE, b"z").unwrap();
    let beyond = space.protect(AT + 3 * PAGE, 2 * PAGE, Protection::READ);
    assert_eq!(beyond, Err(Errno::NOMEM));
}

#[test]
fn wrong_ranges_are_refused() {
    let system = system();
    let space = &system.space;
    let map_at = |at, length| space.map_at(at, length, zeros(READ_WRITE));
    assert_eq!(map_at(AT + 1, PAGE), Err(Errno::INVAL));
    assert_eq!(map_at(AT, 0), Err(Errno::INVAL));
    assert_eq!(map_at(0, PAGE), Err(Errno::PERM));
    assert_eq!(map_at(USER_END, PAGE), Err(Errno::NOMEM));
    assert_eq!(map_at(AT, usize::MAX), Err(Errno::NOMEM));
    assert_eq!(
        space.unmap(usize::MAX & !(PAGE - 1), PAGE),
        Err(Errno::INVAL)
    );
    assert_eq!(space.map(0, USER_END, zeros(READ_WRITE)), Err(Errno::NOMEM));
    assert_eq!(space.forget(AT + 1, PAGE), Err(Errno::INVAL));
    assert!(!space.is_free(usize::MAX, 2));
}

#[test]
fn the_kernel_gives_addresses_that_do_not_overlap() {
    let system = system();
    let space = &system.space;
    let mut last = usize::MAX;
    for pages in [1, 7, 2] {
        let at = space.map(0, pages * PAGE, zeros(READ_WRITE)).unwrap();
        assert!(at + pages * PAGE <= last);
        last = at;
    }
    assert_eq!(space.map(AT + 5, PAGE, zeros(READ_WRITE)), Ok(AT));
    assert_ne!(space.map(AT, PAGE, zeros(READ_WRITE)), Ok(AT));
}

#[test]
fn a_fork_copies_pages_at_the_first_write() {
    let system = system();
    let space = &system.space;
    map(&system, 8);
    for page in 0..8 {
        space.write(AT + page * PAGE, &[page as u8]).unwrap();
    }
    let free = free_bytes();
    let child = space.fork().unwrap();
    assert!(free - free_bytes() < 8 * PAGE, "pages are shared");
    assert_eq!(child.resident_bytes(), space.resident_bytes());
    space.write(AT, b"p").unwrap();
    child.write(AT + PAGE, b"c").unwrap();
    assert_eq!((read(space, AT), read(&child, AT)), (Ok(b'p'), Ok(0)));
    assert_eq!(
        (read(space, AT + PAGE), read(&child, AT + PAGE)),
        (Ok(1), Ok(b'c'))
    );
    // The last owner writes to the page itself.
    let before = free_bytes();
    child.write(AT, b"d").unwrap();
    assert_eq!(free_bytes(), before);
    child.unmap(AT, 8 * PAGE).unwrap();
    assert_eq!(read(space, AT + 7 * PAGE), Ok(7));
    drop(child);
    space.unmap(AT, 8 * PAGE).unwrap();
    assert!(free_bytes() > free);
}

#[test]
fn a_space_gives_all_its_memory_back() {
    let system = system();
    let free = free_bytes();
    let space = Space::new().unwrap();
    for start in [AT, AT << 8, AT << 16] {
        space.map_at(start, 40 * PAGE, zeros(READ_WRITE)).unwrap();
        space.write(start, &[1; 20 * PAGE]).unwrap();
    }
    let child = space.fork().unwrap();
    child.write(AT, &[2; 30 * PAGE]).unwrap();
    drop(space);
    drop(child);
    assert_eq!(free_bytes(), free);
    drop(system);
}

#[test]
fn shared_files_show_what_others_write() {
    let system = system();
    let space = &system.space;
    let node = file(3);
    space.map_at(AT, 3 * PAGE, of_file(&node, true)).unwrap();
    let child = space.fork().unwrap();
    child.write(AT + PAGE, b"s").unwrap();
    assert_eq!(read(space, AT + PAGE), Ok(b's'));
    let mut byte = [0];
    let mut out = crate::file::io::Output::kernel(&mut byte);
    node.read(PAGE as u64, &mut out).unwrap();
    assert_eq!(byte, *b"s");
}

#[test]
fn private_files_keep_what_is_written() {
    let system = system();
    let space = &system.space;
    let node = file(3);
    space.map_at(AT, 4 * PAGE, of_file(&node, false)).unwrap();
    assert_eq!(read(space, AT + 2 * PAGE), Ok(3));
    space.write(AT + 2 * PAGE, b"q").unwrap();
    let mut byte = [0];
    let mut out = crate::file::io::Output::kernel(&mut byte);
    node.read(2 * PAGE as u64, &mut out).unwrap();
    assert_eq!(byte, [3]);
    let access = Access {
        write: false,
        execute: false,
    };
    assert_eq!(
        space.touch(AT + 3 * PAGE, access),
        Err(FaultError::BeyondFile)
    );
    assert_eq!(
        space.touch(AT + 9 * PAGE, access),
        Err(FaultError::NotMapped)
    );
    let execute = Access {
        write: false,
        execute: true,
    };
    assert_eq!(space.touch(AT, execute), Err(FaultError::NotAllowed));
}

#[test]
fn offsets_at_the_end_of_numbers_are_beyond_the_file() {
    let system = system();
    let space = &system.space;
    let mut area = of_file(&file(1), false);
    if let Backing::File { offset, .. } = &mut area.backing {
        *offset = u64::MAX - PAGE as u64 + 1;
    }
    space.map_at(AT, 4 * PAGE, area).unwrap();
    for page in 0..4 {
        assert_eq!(read(space, AT + page * PAGE), Err(Errno::FAULT));
    }
    space.unmap(AT, 2 * PAGE).unwrap();
    assert_eq!(
        space.remap(AT + 2 * PAGE, 2 * PAGE, 8 * PAGE, true, None),
        Ok(AT + 2 * PAGE)
    );
}

#[test]
fn remapping_moves_the_pages() {
    let system = system();
    let space = &system.space;
    map(&system, 4);
    space.write(AT + PAGE, b"m").unwrap();
    assert_eq!(space.remap(AT, 4 * PAGE, 2 * PAGE, false, None), Ok(AT));
    assert!(space.is_free(AT + 2 * PAGE, PAGE));
    assert_eq!(space.remap(AT, 2 * PAGE, 6 * PAGE, false, None), Ok(AT));
    space
        .map_at(AT + 6 * PAGE, PAGE, zeros(Protection::READ))
        .unwrap();
    assert_eq!(
        space.remap(AT, 6 * PAGE, 8 * PAGE, false, None),
        Err(Errno::NOMEM)
    );
    let resident = space.resident_bytes();
    let moved = space.remap(AT, 6 * PAGE, 8 * PAGE, true, None).unwrap();
    assert_ne!(moved, AT);
    assert_eq!(read(space, moved + PAGE), Ok(b'm'));
    assert_eq!(read(space, AT + PAGE), Err(Errno::FAULT));
    assert_eq!(space.resident_bytes(), resident);
    let fixed = space.remap(moved, 8 * PAGE, 8 * PAGE, true, Some(AT << 4));
    assert_eq!(fixed, Ok(AT << 4));
    assert_eq!(read(space, (AT << 4) + PAGE), Ok(b'm'));
    let wrong = [AT << 4, (AT << 4) + PAGE, 1, usize::MAX - PAGE + 1];
    for target in wrong {
        let result = space.remap(AT << 4, 8 * PAGE, 8 * PAGE, true, Some(target));
        assert!(result.is_err(), "{target:#x}");
    }
    assert_eq!(
        space.remap(AT, PAGE, 2 * PAGE, true, None),
        Err(Errno::FAULT)
    );
}

#[test]
fn a_range_is_mapped_only_without_a_hole() {
    let system = system();
    let space = &system.space;
    map(&system, 4);
    space
        .map_at(AT + 4 * PAGE, PAGE, zeros(Protection::READ))
        .unwrap();
    space
        .map_at(AT + 6 * PAGE, PAGE, zeros(READ_WRITE))
        .unwrap();
    let mapped = |from: usize, to: usize| space.is_mapped(AT + from * PAGE, AT + to * PAGE);
    assert!(mapped(0, 5) && mapped(1, 4) && mapped(6, 7) && mapped(5, 5));
    assert!(!mapped(0, 6) && !mapped(0, 7) && !mapped(5, 7) && !mapped(6, 8));
    assert!(!space.is_mapped(AT - PAGE, AT + PAGE));
    assert!(!space.is_mapped(1 << 56, 1 << 57));
}

#[test]
fn brk_grows_and_shrinks() {
    let system = system();
    let space = &system.space;
    space.set_brk_start(AT);
    assert_eq!(space.set_brk(0), AT);
    assert_eq!(space.set_brk(AT + 100), AT + 100);
    space.write(AT, b"b").unwrap();
    assert_eq!(space.set_brk(AT + 5 * PAGE), AT + 5 * PAGE);
    space.write(AT + 4 * PAGE, b"b").unwrap();
    assert_eq!(space.set_brk(AT + PAGE), AT + PAGE);
    assert_eq!(read(space, AT + 4 * PAGE), Err(Errno::FAULT));
    space
        .map_at(AT + 2 * PAGE, PAGE, zeros(Protection::READ))
        .unwrap();
    assert_eq!(
        space.set_brk(AT + 4 * PAGE),
        AT + PAGE,
        "something is there"
    );
    assert_eq!(space.set_brk(usize::MAX), AT + PAGE);
    assert_eq!(read(space, AT), Ok(b'b'));
}

#[test]
fn forgotten_memory_is_zeros_again() {
    let system = system();
    let space = &system.space;
    map(&system, 4);
    space.write(AT, &[9; 4 * PAGE]).unwrap();
    space.forget(AT + PAGE, 2 * PAGE).unwrap();
    assert_eq!(read(space, AT + PAGE), Ok(0));
    assert_eq!(
        (read(space, AT), read(space, AT + 3 * PAGE)),
        (Ok(9), Ok(9))
    );
}

#[test]
fn memory_that_ends_is_an_error_and_nothing_else() {
    let system = system();
    let space = &system.space;
    space.map_at(AT, 1 << 30, zeros(READ_WRITE)).unwrap();
    let failed = (AT..AT + (1 << 30))
        .step_by(PAGE)
        .find(|&at| space.write(at, b"x").is_err());
    assert!(failed.is_some());
    assert_eq!(space.fork().err(), Some(Errno::NOMEM));
    space.write(MEMORY, b"x").err();
    space.unmap(AT, 1 << 30).unwrap();
    assert!(free_bytes() > 1 << 20);
}

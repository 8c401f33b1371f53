//! What the kernel of the built-in runtime reads: the command line, the root archive, programs,
//! the device tree, answers of 9p devices.

use kraft_runtime::arch::device_tree::{DeviceTree, Pci};
use kraft_runtime::fs::ninep::message::Fields;
use kraft_runtime::fs::{archive, memory, table};
use kraft_runtime::net::settings as network;
use kraft_runtime::task::elf;
use kraft_runtime::{abi, boot};

/// Longer paths and lists do not find more.
const LONGEST: usize = 64 << 10;

/// Reads bytes as the kernel's command line.
pub fn runtime_cmdline(bytes: &[u8]) {
    let settings = boot::parse(bytes);
    let words = [
        &settings.environment,
        &settings.mounts,
        &settings.addresses,
        &settings.arguments,
    ];
    let length: usize = words.into_iter().flatten().map(Vec::len).sum();
    assert!(length <= bytes.len(), "words do not grow");
    for line in &settings.mounts {
        if let Some(entry) = table::parse(line) {
            assert!(entry.path.starts_with(b"/"), "mounts are below the root");
        }
    }
    for entry in &settings.addresses {
        let _ = network::parse(entry);
    }
    let _ = boot::parse_mmio_device(bytes);
}

/// Unpacks bytes as the root archive.
pub fn runtime_cpio(bytes: &[u8]) {
    if bytes.len() > LONGEST {
        return;
    }
    let _machine = kraft_runtime::arch::machine();
    let listed: usize = archive::entries(bytes).map(|entry| entry.data.len()).sum();
    assert!(listed <= bytes.len(), "no byte belongs to two files");
    let root = memory::new_tree(0o755);
    // SAFETY: the tree is the only one that keeps the bytes, and ends before they do.
    let bytes: &'static [u8] = unsafe { core::mem::transmute::<&[u8], &'static [u8]>(bytes) };
    archive::unpack(bytes, &root);
    drop(root);
}

/// Reads bytes as a program, and as a script.
pub fn runtime_elf(bytes: &[u8]) {
    let _ = elf::script_interpreter(bytes);
    let read = |offset: u64, into: &mut [u8]| {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = bytes.get(start..).unwrap_or_default();
        let length = rest.len().min(into.len());
        into[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    };
    let Ok(program) = elf::parse(62, read) else {
        return;
    };
    for segment in &program.segments {
        let end = segment.address.checked_add(segment.memory);
        assert!(end.is_some_and(|end| end <= kraft_runtime::arch::USER_END));
        assert!(segment.length <= segment.memory as u64);
    }
}

/// Reads bytes as a device tree, all of whose nodes and properties are visited.
pub fn runtime_device_tree(bytes: &[u8]) {
    let Some(tree) = DeviceTree::new(bytes) else {
        return;
    };
    for node in tree.nodes() {
        let _ = (node.number("phandle"), node.text("status"));
        let _ = node.ranges().count() + node.words("interrupts").count();
        let _ = node.interrupt(2);
    }
    if let Some(bus) = Pci::find(&tree) {
        for pin in 0..=4 {
            let _ = bus.interrupt(31, pin);
        }
    }
}

/// Reads bytes as answers of a 9p device.
pub fn runtime_ninep(bytes: &[u8]) {
    if let Ok(entries) = Fields::new(bytes).entries() {
        let names: usize = entries.iter().map(|entry| entry.name.len()).sum();
        assert!(names <= bytes.len(), "names do not grow");
        for entry in &entries {
            let record = abi::stat::directory_entry(entry);
            assert!(record.len() >= abi::stat::SHORTEST_ENTRY);
        }
    }
    if let Ok(metadata) = Fields::new(bytes).metadata(1) {
        assert!(
            i64::try_from(metadata.size).is_ok(),
            "sizes are not negative"
        );
        let _ = abi::stat::stat(&metadata);
        let _ = abi::stat::statx(&metadata);
    }
}

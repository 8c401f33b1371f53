//! What the device tree says: memory, the root archive, the command line, and the devices that
//! the kernel itself needs.

use core::cell::Cell;

use super::power::Conduit;
use super::{PHYSICAL, clock, console, cpu, interrupts, memory, paging, power};
use crate::arch::BootInfo;
use crate::arch::device_tree::{self, DeviceTree, Node};
use crate::sync::Global;

/// The most bytes of a device tree (Linux's boot protocol).
const LARGEST_TREE: usize = 2 << 20;
/// The most ranges of memory.
const MOST_RANGES: usize = 64;

unsafe extern "C" {
    static kernel_end: u8;
}

/// Where the device tree is: physical address and bytes.
static TREE: Global<Cell<(usize, usize)>> = Global::new(Cell::new((0, 0)));

/// The machine's device tree.
pub fn tree() -> Option<DeviceTree<'static>> {
    let (start, length) = TREE.get();
    if length == 0 {
        return None;
    }
    // SAFETY: the memory is mapped and reserved; no one writes it.
    let bytes = unsafe { core::slice::from_raw_parts((PHYSICAL + start) as *const u8, length) };
    DeviceTree::new(bytes)
}

/// Maps the tree and notes where it is.
fn find_tree(start: usize) {
    if start == 0 || !start.is_multiple_of(8) || !memory::map_memory_range(start, LARGEST_TREE) {
        return;
    }
    // SAFETY: the loader put a tree there, which has a header at least.
    let header = unsafe {
        core::slice::from_raw_parts((PHYSICAL + start) as *const u8, device_tree::HEADER)
    };
    let used = device_tree::used_bytes(header).unwrap_or(0);
    TREE.set((start, used.min(LARGEST_TREE)));
}

/// The first range of a node.
fn address(node: &Node<'_>) -> Option<usize> {
    node.ranges().next().map(|(start, _)| start)
}

/// Starts the devices without which nothing can be said and nothing waited for.
fn start_devices(tree: &DeviceTree<'_>) {
    let mut console = None;
    if let Some(port) = tree.devices(&["arm,pl011"]).next() {
        console = port.interrupt(0);
        if let Some(at) = address(&port) {
            console::use_pl011(at);
        }
    } else if let Some(port) = tree.devices(&["ns16550a"]).next() {
        console = port.interrupt(0);
        if let Some(at) = address(&port) {
            console::use_16550(at);
        }
    }
    if let Some(firmware) = tree.devices(&["arm,psci-0.2", "arm,psci-1.0"]).next() {
        power::set_conduit(match firmware.text("method") {
            Some("smc") => Conduit::Monitor,
            Some("hvc") => Conduit::Hypervisor,
            _ => Conduit::None,
        });
    }
    let version_2 = tree.devices(&["arm,cortex-a15-gic", "arm,gic-400"]).next();
    if let Some(controller) = version_2 {
        let mut ranges = controller.ranges();
        if let (Some((distributor, _)), Some((cpu, _))) = (ranges.next(), ranges.next()) {
            interrupts::use_version_2(distributor, cpu);
        }
    } else if let Some(controller) = tree.devices(&["arm,gic-v3"]).next() {
        let mut ranges = controller.ranges();
        if let (Some((distributor, _)), Some((first, _))) = (ranges.next(), ranges.next()) {
            interrupts::use_version_3(distributor, first);
        }
    }
    // Of the timer's interrupts the third is the virtual counter's.
    let timer = tree.devices(&["arm,armv8-timer"]).next();
    interrupts::use_sources(timer.and_then(|timer| timer.interrupt(2)), console);
    if let Some(at) = tree
        .devices(&["arm,pl031"])
        .next()
        .and_then(|node| address(&node))
    {
        clock::read_date(at);
    }
}

fn read_chosen(tree: &DeviceTree<'_>, boot: &mut BootInfo) {
    let Some(chosen) = tree.nodes().find(|node| node.name == "chosen") else {
        return;
    };
    if let Some(line) = chosen.property("bootargs") {
        let end = line.iter().position(|&byte| byte == 0);
        boot.command_line = line[..end.unwrap_or(line.len())].to_vec();
    }
    let place = |name| chosen.number(name).map(|value| value as usize);
    if let (Some(start), Some(end)) = (place("linux,initrd-start"), place("linux,initrd-end")) {
        boot.initrd = Some((start, end.saturating_sub(start)));
    }
    cpu::add_seed(chosen.property("rng-seed").unwrap_or_default());
    cpu::add_seed(chosen.property("kaslr-seed").unwrap_or_default());
}

#[unsafe(no_mangle)]
extern "C" fn enter_aarch64(tree_at: usize, image: usize) -> ! {
    memory::set_image(image);
    clock::start();
    crate::mm::start_early_heap();
    cpu::init();
    paging::init();
    find_tree(tree_at);
    let mut boot = BootInfo::default();
    if let Some(tree) = tree() {
        start_devices(&tree);
        read_chosen(&tree, &mut boot);
        let ranges = tree
            .nodes()
            .filter(|node| node.text("device_type") == Some("memory"))
            .flat_map(|node| node.ranges());
        for (start, length) in ranges.take(MOST_RANGES) {
            if memory::map_memory_range(start, length) {
                boot.memory.push((start, length));
            }
        }
    }
    let image_end = memory::physical_of_kernel(&raw const kernel_end as usize);
    boot.reserved.push((image, image_end - image));
    boot.reserved.push(TREE.get());
    boot.reserved.extend(boot.initrd);
    crate::start(boot)
}

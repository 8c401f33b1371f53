//! Addresses for the registers of PCI devices, where no firmware gave any.

use virtio_drivers::transport::pci::bus::{
    BarInfo, ConfigurationAccess, DeviceFunction, MemoryBarType, PciRoot,
};

/// Gives the registers of a function that `needs_place` (by their address and their bytes)
/// addresses from `free` on; what does not fit before `end` stays as it is. `free` moves behind
/// what was given. All of it is below 4 GiB.
pub fn place_registers<C: ConfigurationAccess>(
    root: &mut PciRoot<C>,
    function: DeviceFunction,
    free: &mut u64,
    end: u64,
    needs_place: impl Fn(u64, u64) -> bool,
) {
    let Ok(bars) = root.bars(function) else {
        return;
    };
    for (index, bar) in (0_u8..).zip(bars) {
        let Some(BarInfo::Memory {
            address_type,
            address,
            size,
            ..
        }) = bar
        else {
            continue;
        };
        if size == 0 || !needs_place(address, size) {
            continue;
        }
        // Registers are at a multiple of their size, which is a power of two.
        let place = free.next_multiple_of(size);
        if place + size > end {
            continue;
        }
        *free = place + size;
        match address_type {
            MemoryBarType::Width64 => root.set_bar_64(function, index, place),
            MemoryBarType::Width32 | MemoryBarType::Below1MiB => {
                root.set_bar_32(function, index, place as u32);
            }
        }
    }
}

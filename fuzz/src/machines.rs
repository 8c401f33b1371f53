//! Fuzzes kernels, the event log of a VMM, and command line arguments of a machine.

use std::io::Cursor;

use kraft_core::arch::Arch;
use kraft_core::kernel::object::Object;
use kraft_core::kernel::size::{self, Libraries};
use kraft_core::kernel::{self, libinfo, reconstruct};
use kraft_core::mount::VolumeArg;
use kraft_core::platform::Platform;
use kraft_core::program::Program;
use kraft_core::{component, machine, port, quantity, shell_words};
use kraft_machine::EventLog;
use kraft_machine::driver::Driver;
use kraft_machine::driver::qemu::Qemu;

/// Identifies a kernel or a program, and reads its sections, symbols and library records; reads
/// the same bytes as library records alone.
pub fn kernel(bytes: &[u8]) {
    let _ = kernel::identify(&mut Cursor::new(bytes));
    let _ = Program::read(&mut Cursor::new(bytes));
    records(bytes);
    let Ok(object) = Object::parse(bytes) else {
        return;
    };
    for section in object.sections() {
        if let Ok(contents) = object.contents(section)
            && section.name == libinfo::SECTION
        {
            records(contents);
        }
    }
    let mut libraries = Libraries::default();
    let _ = libraries.add("libfuzz", &object);
    if let Ok(measured) = size::measure(&object, &libraries) {
        for (place, section) in measured.sections.iter().enumerate() {
            let shares = measured
                .shares
                .iter()
                .filter(|share| share.section == place);
            let sum: u128 = shares.map(|share| u128::from(share.size)).sum();
            assert!(sum <= u128::from(section.size), "{section:?}");
        }
    }
}

fn records(section: &[u8]) {
    let Ok(info) = libinfo::parse(section) else {
        return;
    };
    let facts = reconstruct::Facts {
        name: "fuzz",
        arch: Arch::X86_64,
        platform: Platform::Qemu,
        info: &info,
        config: None,
    };
    let text = facts.kraftfile();
    let parsed = kraft_core::kraftfile::parse(&text, &|_| None);
    assert!(
        !kraft_core::kraftfile::has_errors(&parsed.problems),
        "{text}"
    );
    let _ = facts.options();
}

/// Reads the event log of a VMM.
pub fn event_log(bytes: &[u8]) {
    let mut log = EventLog::default();
    for line in bytes.split(|&byte| byte == b'\n') {
        Qemu.parse_event(line, &mut log);
    }
    log.state();
    log.ending();
    log.has_panicked();
}

/// Parses the values of options: ports, volumes, sizes, names, components and lists of words.
pub fn options(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    for mapping in port::parse(text).unwrap_or_default() {
        let typed = mapping.as_typed();
        let again = port::parse(&typed).expect("a mapping that was written can be read");
        assert_eq!(again, [mapping], "{typed}");
    }
    let _ = text.parse::<VolumeArg>();
    if let Ok(bytes) = quantity::parse(text) {
        quantity::display(bytes);
    }
    let _ = machine::check_name(text);
    let _ = text.parse::<component::Name>();
    component::of_source(text);
    let _ = shell_words::split(text);
}

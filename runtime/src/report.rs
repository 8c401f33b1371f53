//! What the kernel says on the console, and the end of the machine.

use alloc::string::String;
use core::fmt::{self, Write};

use crate::arch::{self, Registers};
use crate::mm::frames;
use crate::signal::Info;
use crate::task::{self, Ending, Process, Thread, symbols};

/// The console as the kernel writes to it.
pub struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for line in text.split_inclusive('\n') {
            match line.strip_suffix('\n') {
                Some(line) => {
                    arch::console_write(line.as_bytes());
                    arch::console_write(b"\r\n");
                }
                None => arch::console_write(line.as_bytes()),
            }
        }
        Ok(())
    }
}

/// Writes to the console.
#[macro_export]
macro_rules! print {
    ($($argument:tt)*) => {{
        use core::fmt::Write as _;
        // The console cannot fail.
        let _ = write!($crate::report::Console, $($argument)*);
    }};
}

impl Process {
    /// The program and the number, as messages name a process.
    pub fn describe(&self) -> alloc::string::String {
        let program = self.program.borrow();
        let name = match &*program {
            Some(place) => alloc::string::String::from_utf8_lossy(place.name()).into_owned(),
            None => alloc::string::String::from("a program"),
        };
        alloc::format!("{name} (process {})", self.id)
    }
}

/// An address with the function that has it, and the file if it is not the program itself:
/// `0x7f0012 (memcpy+0x12 in libc.so.6)`.
fn place_of(process: &Process, address: usize) -> String {
    let mut text = alloc::format!("{address:#x}");
    let location = process
        .space()
        .and_then(|space| symbols::find(&space, address));
    let Some((location, (name, distance))) =
        location.and_then(|mut location| location.function.take().map(|name| (location, name)))
    else {
        return text;
    };
    let program = process.program.borrow().clone();
    let other = location
        .place
        .filter(|place| program.is_none_or(|program| !program.is(place)));
    // Text in memory takes everything.
    let _ = write!(text, " ({name}+{distance:#x}");
    if let Some(place) = other {
        let _ = write!(text, " in {}", place.name().escape_ascii());
    }
    text.push(')');
    text
}

/// Reports a program that an exception ends.
pub fn crash(thread: &Thread, info: &Info, registers: &Registers) {
    let name = thread.process.describe();
    let signal = info.signal().name();
    let at = place_of(&thread.process, registers.instruction());
    if info.code() > 0 && info.code() < 0x80 {
        print!(
            "kraft: {name} crashed: {signal} at address {:#x}, instruction {at}, stack {:#x}\n",
            info.fields()[0],
            registers.stack()
        );
    } else {
        print!("kraft: {name} was ended by {signal}, instruction {at}\n");
    }
}

/// Reports that memory ran out while the current program wanted more.
pub fn out_of_memory() {
    let process = task::current_process();
    let used = process.space().map_or(0, |space| space.resident_bytes());
    print!(
        "kraft: out of memory: {} uses {} MiB of the machine's {} MiB and is ended; give the machine more, for example with --memory {}Mi\n",
        process.describe(),
        used >> 20,
        frames::total_bytes() >> 20,
        ((frames::total_bytes() >> 20) * 2).next_power_of_two(),
    );
}

/// The first process has ended, and the machine with it.
pub fn end_of_machine(process: &Process, ending: Ending) -> ! {
    if let Ending::Killed(signal) = ending {
        print!(
            "kraft: {} was ended by {}\n",
            process.describe(),
            signal.name()
        );
    }
    crate::fs::ninep::sync_all();
    arch::power_off(ending.shell_status())
}

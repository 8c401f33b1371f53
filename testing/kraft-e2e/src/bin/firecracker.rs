//! The emulated Firecracker, as the program that the tests configure.

use std::process::ExitCode;

fn main() -> ExitCode {
    let code = kraft_firecracker_emulator::run(std::env::args().skip(1), &mut std::io::stdout());
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

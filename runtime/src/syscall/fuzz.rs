//! Random system calls: the kernel must survive all of them.
//!
//! The test makes a bounded number of them; with `KRAFT_FUZZ_SECONDS` it continues for that long,
//! from the seed `KRAFT_FUZZ_SEED`.

use alloc::string::String;
use alloc::vec::Vec;
use std::time::{Duration, Instant};

use super::*;
use crate::arch::PAGE;
use crate::mm::frames;
use crate::signal::{Info, Signal};
use crate::testing::{MEMORY, MEMORY_SIZE, System, system};

/// Calls of one system, before the next one begins.
const CALLS: usize = 400;
/// Systems of a short run.
const SYSTEMS: u64 = 100;
/// A call that takes longer keeps the machine from everything else.
const LONGEST: Duration = Duration::from_secs(5);

struct Random(u64);

impl Random {
    fn next(&mut self) -> usize {
        // Steele, Lea and Flood: "Fast splittable pseudorandom number generators" (2014).
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as usize
    }

    fn below(&mut self, end: usize) -> usize {
        self.next() % end
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// The paths in memory, one every 64 bytes.
const PATHS: &[&[u8]] = &[
    b"/",
    b".",
    b"..",
    b"",
    b"a",
    b"b",
    b"/tmp/f",
    b"/tmp/d",
    b"/tmp/d/x",
    b"/tmp/l",
    b"/dev/null",
    b"/dev/zero",
    b"/dev/tty",
    b"/dev/ptmx",
    b"/dev/pts/0",
    b"/dev/random",
    b"/dev/full",
    b"/proc/self/fd/3",
    b"/proc/self/maps",
    b"/proc",
    b"/dev/shm/s",
    b"d/../d/x",
    b"/tmp/d/",
    b"tmpfs",
    b"/etc/passwd",
    b"user.a",
    b"trusted.b",
];
const NUMBERS: &[usize] = &[
    0,
    1,
    2,
    3,
    7,
    8,
    16,
    64,
    PAGE - 1,
    PAGE,
    PAGE + 1,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 40,
    1 << 46,
    0x7fff_ffff_f000,
    0x8000_0000_0000,
    isize::MAX as usize,
    isize::MIN as usize,
    usize::MAX - PAGE,
    usize::MAX - PAGE + 1,
    usize::MAX - 1,
    usize::MAX,
    -100_isize as usize,
];

fn argument(random: &mut Random) -> usize {
    match random.below(16) {
        0 | 1 => random.below(24),
        2 => random.next(),
        3 => 1 << random.below(64),
        4 => random.below(1 << 17),
        5 | 6 => random.one_of(NUMBERS),
        7 => (1_usize << random.below(64)).wrapping_sub(1),
        8 | 9 => MEMORY + 64 * random.below(PATHS.len()),
        10 => MEMORY + PAGE * random.below(MEMORY_SIZE / PAGE),
        11 => MEMORY + PAGE + 8 * random.below(512),
        // Just before the end of memory, and after it.
        12 => MEMORY + MEMORY_SIZE - random.below(64),
        13 => MEMORY + MEMORY_SIZE + random.below(2) * PAGE,
        14 => random.below(8) * PAGE,
        _ => random.below(1 << 12) | random.below(16) << 16,
    }
}

/// What some calls want, a letter for each argument: `f` a descriptor, `p` a path, `b` memory,
/// `s` a structure, `n` a length, `o` an offset or a number, `x` flags, `m` mapped memory, `M` and `I` what
/// `mmap` and `ioctl` know.
#[rustfmt::skip]
const SHAPES: &[(&str, &[Call])] = &[
    ("fbn", &[Call::Read, Call::Write, Call::Getdents64]),
    ("fsn", &[Call::Readv, Call::Writev]),
    ("fsnoox", &[Call::Preadv, Call::Pwritev, Call::Preadv2, Call::Pwritev2]),
    ("fbno", &[Call::Pread64, Call::Pwrite64]),
    ("fox", &[Call::Lseek, Call::Dup3]),
    ("ff", &[Call::Dup2]),
    ("f", &[Call::Close, Call::Dup, Call::Fsync, Call::Fchdir]),
    ("fos", &[Call::Fcntl]),
    ("fIs", &[Call::Ioctl]),
    ("sx", &[Call::Pipe2]),
    ("fs", &[Call::Fstat, Call::Fstatfs]),
    ("fo", &[Call::Ftruncate]),
    ("fxoo", &[Call::Fallocate]),
    ("ffsn", &[Call::Sendfile]),
    ("fsfsnx", &[Call::CopyFileRange, Call::Splice]),
    ("px", &[Call::MemfdCreate, Call::Creat, Call::Mkdir, Call::Chmod, Call::Access]),
    ("pxx", &[Call::Open, Call::Mknod]),
    ("fpxx", &[Call::Openat, Call::Mkdirat, Call::Unlinkat, Call::Fchmodat]),
    ("ps", &[Call::Stat, Call::Lstat, Call::Statfs, Call::Utimes]),
    ("fpsx", &[Call::Newfstatat, Call::Utimensat]),
    ("fpxns", &[Call::Statx]),
    ("p", &[Call::Unlink, Call::Rmdir, Call::Chdir]),
    ("pp", &[Call::Rename, Call::Link, Call::Symlink]),
    ("fpfpx", &[Call::Renameat2, Call::Linkat]),
    ("pbn", &[Call::Readlink]),
    ("ppbnx", &[Call::Setxattr, Call::Lsetxattr]),
    ("ppbn", &[Call::Getxattr]),
    ("fpbnx", &[Call::Fsetxattr]),
    ("fpbn", &[Call::Fgetxattr]),
    ("pp", &[Call::Removexattr]),
    ("fp", &[Call::Fremovexattr]),
    ("pbn", &[Call::Listxattr]),
    ("sno", &[Call::Poll]),
    ("nsssss", &[Call::Select, Call::Pselect6]),
    ("mnxMfo", &[Call::Mmap]),
    ("mn", &[Call::Munmap]),
    ("mnx", &[Call::Mprotect, Call::Madvise, Call::Msync]),
    ("mnnxm", &[Call::Mremap]),
    ("mnb", &[Call::Mincore]),
    ("m", &[Call::Brk]),
    ("bxoosx", &[Call::Futex]),
    ("osso", &[Call::RtSigaction, Call::RtSigprocmask]),
    ("ssso", &[Call::RtSigtimedwait]),
    ("oo", &[Call::Kill, Call::Tkill, Call::Setpgid]),
    ("oss", &[Call::Setitimer]),
    ("os", &[Call::ClockGettime, Call::ClockSettime, Call::Getrusage]),
    ("oxss", &[Call::ClockNanosleep]),
    ("osxs", &[Call::Wait4]),
    ("ooss", &[Call::Prlimit64]),
    ("xossss", &[Call::Prctl]),
    ("pppxs", &[Call::Mount]),
    ("bnx", &[Call::Getrandom]),
    ("fxox", &[Call::EpollCreate1, Call::Eventfd2, Call::TimerfdCreate]),
    ("ffxs", &[Call::EpollCtl]),
    ("fsno", &[Call::EpollWait, Call::EpollPwait]),
    ("fxss", &[Call::TimerfdSettime, Call::Signalfd4]),
    ("ooos", &[Call::Socket, Call::Socketpair]),
    ("fsn", &[Call::Bind, Call::Connect, Call::Getsockname, Call::Accept]),
    ("fo", &[Call::Listen, Call::Shutdown]),
    ("fbnxsn", &[Call::Sendto, Call::Recvfrom]),
    ("fsx", &[Call::Sendmsg, Call::Recvmsg]),
    ("fooss", &[Call::Setsockopt, Call::Getsockopt]),
    ("fpx", &[Call::InotifyAddWatch]),
];

/// An argument of one kind of [`SHAPES`].
fn shaped(random: &mut Random, kind: u8) -> usize {
    if random.below(8) == 0 {
        return argument(random);
    }
    match kind {
        b'f' if random.below(6) == 0 => -100_isize as usize,
        b'f' => random.below(20),
        b'p' => MEMORY + 64 * random.below(PATHS.len()),
        b'b' => MEMORY + PAGE * 2 + random.below(MEMORY_SIZE - PAGE * 2),
        b's' if random.below(4) == 0 => 0,
        b's' => MEMORY + PAGE + 8 * random.below(900),
        b'n' => random.one_of(&[0, 1, 3, 8, 24, 100, PAGE, 3 * PAGE, 1 << 17, 5 << 20]),
        b'o' => match random.below(4) {
            0 => random.one_of(NUMBERS),
            1 => random.below(1 << 15),
            _ => random.below(40),
        },
        b'M' => random.one_of(&[0x22, 0x32, 0x21, 0x31, 0x01, 0x02, 0x11, 0x12, 0x8022]),
        b'I' => 0x5400 | random.below(0x60),
        b'x' => (0..random.below(4)).fold(0, |bits, _| bits | 1 << random.below(20)),
        _ => match random.below(3) {
            0 => MEMORY + PAGE * random.below(MEMORY_SIZE / PAGE),
            // What the kernel gave out for mappings is below here.
            1 => 0x7fff_bfff_f000 - PAGE * random.below(64),
            _ => 0x4000_0000 + PAGE * random.below(64),
        },
    }
}

/// Opens a file, a directory, a pipe, a terminal and a device.
fn open_some() {
    let path = |index: usize| MEMORY + 64 * index;
    for (call, arguments) in [
        (Call::Open, [path(6), 0o102, 0o666, 0, 0, 0]),
        (Call::Mkdir, [path(7), 0o777, 0, 0, 0, 0]),
        (Call::Open, [path(7), 0, 0, 0, 0, 0]),
        (Call::Pipe, [MEMORY + PAGE, 0, 0, 0, 0, 0]),
        (Call::Open, [path(13), 2, 0, 0, 0, 0]),
        (Call::Open, [path(11), 2, 0, 0, 0, 0]),
        (Call::MemfdCreate, [path(4), 0, 0, 0, 0, 0]),
        (Call::Ftruncate, [9, 3 * PAGE, 0, 0, 0, 0]),
    ] {
        let _ = dispatch(call, arguments);
    }
}

/// Writes paths and plausible structures.
fn fill_memory(system: &System, random: &mut Random) {
    for (index, path) in PATHS.iter().enumerate() {
        let mut bytes = path.to_vec();
        bytes.push(0);
        let _ = system.space.write(MEMORY + 64 * index, &bytes);
    }
    let words: Vec<u8> = (0..1024)
        .flat_map(|_| argument(random).to_le_bytes())
        .collect();
    let _ = system.space.write(MEMORY + PAGE, &words);
}

/// Calls that end or replace what makes the calls, or wait whatever signals come.
fn is_left_out(call: Call) -> bool {
    matches!(
        call,
        Call::Exit
            | Call::ExitGroup
            | Call::Execve
            | Call::Execveat
            | Call::Vfork
            | Call::Clone3
            | Call::Reboot
            | Call::RtSigreturn
            // Its memory stays until someone removes it: it would look lost.
            | Call::Shmget
            | Call::MqOpen
    )
}

/// What was called, woken when the test fails.
struct Log {
    seed: u64,
    lines: Vec<String>,
}

impl Drop for Log {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::eprintln!("seed {}; the last calls:", self.seed);
            for line in self.lines.iter().rev().take(25).rev() {
                std::eprintln!("  {line}");
            }
        }
    }
}

fn run_system(seed: u64, calls: &mut Vec<Call>) {
    let mut random = Random(seed);
    let mut log = Log {
        seed,
        lines: Vec::new(),
    };
    let system = system();
    fill_memory(&system, &mut random);
    // Some calls again and again, so that they meet the results of each other.
    let favourites: Vec<Call> = (0..10).map(|_| random.one_of(calls)).collect();
    open_some();
    for _ in 0..CALLS {
        let thread = task::current();
        // Anyone who waits is notified that a signal came.
        thread.mask.set(0);
        thread.process.pending.add(Info::kernel(Signal::KILL));
        thread.process.stopped.set(None);
        let call = if random.below(2) == 0 {
            random.one_of(&favourites)
        } else {
            random.one_of(calls)
        };
        let shape = SHAPES
            .iter()
            .find(|(_, of)| of.contains(&call))
            .map_or(&b""[..], |(shape, _)| shape.as_bytes());
        let mut arguments: [usize; 6] = core::array::from_fn(|index| match shape.get(index) {
            Some(&kind) => shaped(&mut random, kind),
            None => argument(&mut random),
        });
        match call {
            // `CLONE_VFORK` waits for the child.
            Call::Clone => arguments[0] &= !0x4000,
            Call::Fork if task::all_threads().len() > 8 => continue,
            _ => {}
        }
        if task::all_threads().len() > 30 && matches!(call, Call::Clone | Call::Fork) {
            continue;
        }
        if random.below(50) == 0 {
            fill_memory(&system, &mut random);
        }
        log.lines
            .push(alloc::format!("{}{arguments:x?}", call.name()));
        let begun = Instant::now();
        let result = dispatch(call, arguments);
        let took = begun.elapsed();
        assert!(took < LONGEST, "{} took {took:?}", call.name());
        if result == Err(Errno::NOSYS) && shape.is_empty() {
            calls.retain(|&other| other != call);
        }
        if let Some(line) = log.lines.last_mut() {
            *line += &alloc::format!(" = {result:x?}");
        }
        if let Ok(value) = result {
            assert!(
                value < -4096_isize as usize || call == Call::Mmap,
                "{call:?}"
            );
        }
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn the_kernel_survives_random_calls() {
    let mut calls: Vec<Call> = (0..512)
        .filter_map(Call::from_number)
        .filter(|&call| !is_left_out(call))
        .collect();
    // Memory that the first systems leave behind is that of the caches of the kernel.
    let begun = Instant::now();
    let first = variable("KRAFT_FUZZ_SEED").unwrap_or(1);
    let seconds = variable("KRAFT_FUZZ_SECONDS");
    let mut free = None;
    for seed in first.. {
        let over = match seconds {
            Some(seconds) => begun.elapsed().as_secs() >= seconds,
            None => seed - first >= SYSTEMS,
        };
        if over {
            break;
        }
        run_system(seed, &mut calls);
        // What other tests have does not count: they run only without this system.
        let clean = system();
        let now = frames::free_bytes();
        drop(clean);
        let before = *free.get_or_insert(now);
        assert_eq!(now, before, "seed {seed} lost memory");
    }
}

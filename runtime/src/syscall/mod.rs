//! System calls: the number and the arguments become a call of a function.

mod attributes;
mod events;
mod files;
#[cfg(test)]
mod fuzz;
mod memory;
mod message_queues;
pub(crate) mod paths;
mod poll;
mod processes;
mod signals;
mod sockets;
pub(crate) mod system;
mod sysv;
mod times;

pub use system::{RELEASE, VERSION, host_name, name_host};

use core::cell::{Cell, RefCell};

use crate::abi::calls::Call;
use crate::abi::errno::{Errno, Result};
use crate::arch::Registers;
use crate::sync::Global;
use crate::task;
use crate::task::signals::return_from_handler;

static TRACE: Global<Cell<bool>> = Global::new(Cell::new(false));
/// The calls that were missing, a bit for each number: each is reported once.
static MISSING: Global<RefCell<[u64; 8]>> = Global::new(RefCell::new([0; 8]));

/// Prints each call with its result from now on.
pub fn set_trace(trace: bool) {
    TRACE.set(trace);
}

/// Whether the call with a number returns from a signal handler: it has no result.
pub fn returns_from_handler(number: usize) -> bool {
    Call::from_number(number) == Some(Call::RtSigreturn)
}

/// Makes the call that the registers ask for and puts its result into them.
pub fn run(registers: &mut Registers) {
    let number = registers.call_number();
    let call = Call::from_number(number);
    let arguments = registers.arguments();
    match call {
        Some(Call::RtSigreturn) => return return_from_handler(registers),
        Some(Call::Execve | Call::Execveat) => {
            let started = processes::execute(call == Some(Call::Execveat), arguments);
            trace(
                number,
                call,
                arguments,
                started.as_ref().map(|_| 0).map_err(|error| *error),
            );
            match started {
                Ok(start) => *registers = start,
                Err(error) => registers.set_result(-(error.0 as isize) as usize),
            }
            return;
        }
        _ => {}
    }
    let result = match call {
        Some(call) => dispatch(call, arguments),
        None => Err(Errno::NOSYS),
    };
    if result == Err(Errno::NOSYS) {
        tell_missing(number, call);
    }
    trace(number, call, arguments, result);
    registers.set_result(match result {
        Ok(value) => value,
        Err(error) => -(error.0 as isize) as usize,
    });
}

fn trace(number: usize, call: Option<Call>, arguments: [usize; 6], result: Result) {
    if TRACE.get() {
        let thread = task::current();
        let name = call.map_or("unknown", Call::name);
        crate::print!(
            "[{}] {name}({number}) {arguments:x?} = {result:x?}\n",
            thread.id()
        );
    }
}

/// Reports a call that does not exist, once. Programs try some newer calls and continue without
/// them: these are not worth a line.
fn tell_missing(number: usize, call: Option<Call>) {
    let expected = matches!(
        call,
        Some(
            Call::Rseq
                | Call::IoUringSetup
                | Call::AddKey
                | Call::Cachestat
                | Call::Fsopen
                | Call::Keyctl
                | Call::Listmount
                | Call::MountSetattr
                | Call::MoveMount
                | Call::OpenTree
                | Call::PkeyAlloc
                | Call::RequestKey
                | Call::Statmount
                | Call::Mseal
                | Call::GetMempolicy
                | Call::Mbind
                | Call::SetMempolicy
                | Call::Bpf
                | Call::PerfEventOpen
                | Call::LandlockCreateRuleset
                | Call::Seccomp
                | Call::Userfaultfd
                | Call::FutexWaitv
                | Call::SetRobustList
        )
    );
    if expected {
        return;
    }
    let (word, bit) = (number / 64, number % 64);
    let first = match MISSING.borrow_mut().get_mut(word) {
        Some(bits) => {
            let first = *bits & 1 << bit == 0;
            *bits |= 1 << bit;
            first
        }
        None => true,
    };
    if first {
        let name = call.map_or("unknown", Call::name);
        let process = task::current_process().describe();
        crate::print!(
            "kraft: {process} wants the system call {name} ({number}), which this kernel does not have\n"
        );
    }
}

/// A descriptor is 32 bits of a register.
fn descriptor(argument: usize) -> i32 {
    argument as i32
}

/// Whose extended attributes a call is about.
fn target(call: Call, argument: usize) -> Result<attributes::Target> {
    match call {
        Call::Fgetxattr | Call::Fsetxattr | Call::Fremovexattr | Call::Flistxattr => {
            attributes::Target::open(descriptor(argument))
        }
        Call::Lgetxattr | Call::Lsetxattr | Call::Lremovexattr | Call::Llistxattr => {
            attributes::Target::at(argument, paths::NO_FOLLOW)
        }
        _ => attributes::Target::at(argument, 0),
    }
}

#[expect(clippy::too_many_lines, reason = "one line for each system call")]
fn dispatch(call: Call, a: [usize; 6]) -> Result {
    let fd = descriptor(a[0]);
    match call {
        // Open files.
        Call::Read => files::read(fd, a[1], a[2]),
        Call::Write => files::write(fd, a[1], a[2]),
        Call::Readv => files::read_pieces(fd, a[1], a[2], None),
        Call::Writev => files::write_pieces(fd, a[1], a[2], None),
        Call::Pread64 => files::read_at(fd, a[1], a[2], a[3] as u64),
        Call::Pwrite64 => files::write_at(fd, a[1], a[2], a[3] as u64),
        Call::Preadv | Call::Preadv2 => {
            files::check_flags(call, a[5])?;
            files::read_pieces(fd, a[1], a[2], files::offset_or_current(call, a[3]))
        }
        Call::Pwritev | Call::Pwritev2 => {
            files::check_flags(call, a[5])?;
            files::write_pieces(fd, a[1], a[2], files::offset_or_current(call, a[3]))
        }
        Call::Lseek => files::seek(fd, a[1] as i64, a[2]),
        Call::Close => files::close(fd),
        Call::CloseRange => files::close_range(a[0] as u32, a[1] as u32, a[2]),
        Call::Dup => files::duplicate(fd),
        Call::Dup2 => files::duplicate_to(fd, descriptor(a[1]), None),
        Call::Dup3 => files::duplicate_to(fd, descriptor(a[1]), Some(a[2])),
        Call::Fcntl => files::control(fd, a[1], a[2]),
        Call::Ioctl => files::device_control(fd, a[1], a[2]),
        Call::Pipe => files::pipe(a[0], 0),
        Call::Pipe2 => files::pipe(a[0], a[1]),
        Call::Fsync | Call::Fdatasync | Call::Syncfs => files::sync(fd),
        Call::SyncFileRange => files::sync(fd),
        Call::Sync => {
            crate::fs::ninep::sync_all();
            Ok(0)
        }
        Call::Fstat => files::status(fd, a[1]),
        Call::Fstatfs => files::file_system(fd, a[1]),
        Call::Ftruncate => files::truncate(fd, a[1] as i64),
        Call::Fallocate => files::allocate(fd, a[1], a[2] as i64, a[3] as i64),
        Call::Getdents => files::old_directory_entries(fd, a[1], a[2]),
        Call::Getdents64 => files::directory_entries(fd, a[1], a[2]),
        Call::Sendfile => files::send_file(fd, descriptor(a[1]), a[2], a[3]),
        Call::CopyFileRange => files::copy_range(fd, a[1], descriptor(a[2]), a[3], a[4]),
        Call::Splice => files::splice(fd, a[1], descriptor(a[2]), a[3], a[4], a[5]),
        Call::Vmsplice => files::splice_memory(fd, a[1], a[2]),
        Call::Tee => files::copy_pipe(fd, descriptor(a[1]), a[2]),
        Call::Fchmod => files::change_permissions(fd, a[1]),
        Call::Fchown => files::change_owner(fd, a[1] as u32, a[2] as u32),
        Call::Fadvise64 | Call::Readahead => files::exists(fd),
        Call::Flock => files::lock(fd, a[1]),
        Call::MemfdCreate => files::memory_file(a[0], a[1]),

        // Paths.
        Call::Open => paths::open(paths::CURRENT, a[0], a[1], a[2]),
        Call::Openat => paths::open(fd, a[1], a[2], a[3]),
        Call::Openat2 => paths::open_how(fd, a[1], a[2], a[3]),
        Call::Creat => paths::open(paths::CURRENT, a[0], 0o1101, a[1]),
        Call::Stat => paths::status(paths::CURRENT, a[0], a[1], 0),
        Call::Lstat => paths::status(paths::CURRENT, a[0], a[1], paths::NO_FOLLOW),
        Call::Newfstatat => paths::status(fd, a[1], a[2], a[3]),
        Call::Statx => paths::extended_status(a),
        Call::Statfs => paths::file_system(a[0], a[1]),
        Call::Access => paths::access(paths::CURRENT, a[0], a[1], 0),
        Call::Faccessat => paths::access(fd, a[1], a[2], 0),
        Call::Faccessat2 => paths::access(fd, a[1], a[2], a[3]),
        Call::Mkdir => paths::make_directory(paths::CURRENT, a[0], a[1]),
        Call::Mkdirat => paths::make_directory(fd, a[1], a[2]),
        Call::Mknod => paths::make_node(paths::CURRENT, a[0], a[1], a[2]),
        Call::Mknodat => paths::make_node(fd, a[1], a[2], a[3]),
        Call::Unlink => paths::remove(paths::CURRENT, a[0], 0),
        Call::Rmdir => paths::remove(paths::CURRENT, a[0], paths::REMOVE_DIRECTORY),
        Call::Unlinkat => paths::remove(fd, a[1], a[2]),
        Call::Rename => paths::rename(paths::CURRENT, a[0], paths::CURRENT, a[1], 0),
        Call::Renameat => paths::rename(fd, a[1], descriptor(a[2]), a[3], 0),
        Call::Renameat2 => paths::rename(fd, a[1], descriptor(a[2]), a[3], a[4]),
        Call::Link => paths::link(paths::CURRENT, a[0], paths::CURRENT, a[1], 0),
        Call::Linkat => paths::link(fd, a[1], descriptor(a[2]), a[3], a[4]),
        Call::Symlink => paths::symbolic_link(a[0], paths::CURRENT, a[1]),
        Call::Symlinkat => paths::symbolic_link(a[0], descriptor(a[1]), a[2]),
        Call::Readlink => paths::read_link(paths::CURRENT, a[0], a[1], a[2]),
        Call::Readlinkat => paths::read_link(fd, a[1], a[2], a[3]),
        Call::Chmod => paths::change_permissions(paths::CURRENT, a[0], a[1]),
        Call::Fchmodat | Call::Fchmodat2 => paths::change_permissions(fd, a[1], a[2]),
        Call::Chown => paths::change_owner(paths::CURRENT, a[0], a[1], a[2], 0),
        Call::Lchown => paths::change_owner(paths::CURRENT, a[0], a[1], a[2], paths::NO_FOLLOW),
        Call::Fchownat => paths::change_owner(fd, a[1], a[2], a[3], a[4]),
        Call::NameToHandleAt | Call::OpenByHandleAt => Err(Errno::OPNOTSUPP),
        Call::Utimensat => paths::set_times(fd, a[1], a[2], a[3]),
        Call::Utimes => paths::set_times_micro(paths::CURRENT, a[0], a[1]),
        Call::Futimesat => paths::set_times_micro(fd, a[1], a[2]),
        Call::Utime => paths::set_times_whole(a[0], a[1]),
        Call::Truncate => paths::truncate(a[0], a[1] as i64),
        Call::Chdir => paths::change_directory(a[0]),
        Call::Fchdir => paths::change_directory_to(fd),
        Call::Chroot => paths::change_root(a[0]),
        Call::Getcwd => paths::current_directory(a[0], a[1]),
        Call::Umask => paths::set_mask(a[0] as u32),

        // Extended attributes.
        Call::Getxattr | Call::Lgetxattr | Call::Fgetxattr => {
            attributes::get(&target(call, a[0])?, a[1], a[2], a[3])
        }
        Call::Setxattr | Call::Lsetxattr | Call::Fsetxattr => {
            attributes::set(&target(call, a[0])?, a[1], a[2], a[3], a[4])
        }
        Call::Removexattr | Call::Lremovexattr | Call::Fremovexattr => {
            attributes::remove(&target(call, a[0])?, a[1])
        }
        Call::Listxattr | Call::Llistxattr | Call::Flistxattr => {
            attributes::list(&target(call, a[0])?, a[1], a[2])
        }

        // Waiting for files.
        Call::EpollCreate if descriptor(a[0]) <= 0 => Err(Errno::INVAL),
        Call::EpollCreate => events::epoll(0),
        Call::EpollCreate1 => events::epoll(a[0]),
        Call::EpollCtl => events::epoll_control(fd, a[1], descriptor(a[2]), a[3]),
        Call::EpollWait => events::epoll_wait(fd, a[1], a[2], poll::milliseconds(a[3])),
        Call::EpollPwait => events::epoll_wait_with_mask(a, poll::milliseconds(a[3])),
        Call::EpollPwait2 => events::epoll_wait_with_mask(a, poll::deadline_at(a[3])?),
        Call::TimerfdCreate => events::timer(a[0], a[1]),
        Call::TimerfdSettime => events::set_timer(fd, a[1], a[2], a[3]),
        Call::TimerfdGettime => events::timer_setting(fd, a[1]),
        Call::Signalfd => events::signals(fd, a[1], a[2], 0),
        Call::Signalfd4 => events::signals(fd, a[1], a[2], a[3]),
        Call::PidfdOpen => events::process(fd, a[1]),
        Call::PidfdGetfd => events::file_of_process(fd, descriptor(a[1]), a[2]),
        Call::PidfdSendSignal => signals::send_by_descriptor(fd, a[1], a[2], a[3]),
        Call::InotifyInit => events::watches(0),
        Call::InotifyInit1 => events::watches(a[0]),
        Call::InotifyAddWatch => paths::watch(fd, a[1], a[2] as u32),
        Call::InotifyRmWatch => events::end_watch(fd, descriptor(a[1])),
        Call::Eventfd => events::counter(a[0], 0),
        Call::Eventfd2 => events::counter(a[0], a[1]),
        Call::Poll => poll::poll(a[0], a[1], poll::milliseconds(a[2])),
        Call::Ppoll => poll::poll_with_mask(a),
        Call::Select => poll::select(a),
        Call::Pselect6 => poll::select_with_mask(a),

        // Sockets.
        Call::Socket => sockets::create(a[0], a[1], a[2]),
        Call::Socketpair => sockets::create_pair(a[0], a[1], a[2], a[3]),
        Call::Bind => sockets::bind(fd, a[1], a[2] as u32 as usize),
        Call::Listen => sockets::listen(fd, a[1]),
        Call::Accept => sockets::accept(fd, a[1], a[2], 0),
        Call::Accept4 => sockets::accept(fd, a[1], a[2], a[3]),
        Call::Connect => sockets::connect(fd, a[1], a[2] as u32 as usize),
        Call::Getsockname => sockets::own_name(fd, a[1], a[2]),
        Call::Getpeername => sockets::peer_name(fd, a[1], a[2]),
        Call::Sendto => sockets::send_to(a),
        Call::Recvfrom => sockets::receive_from(a),
        Call::Sendmsg => sockets::send_message(fd, a[1], a[2]),
        Call::Recvmsg => sockets::receive_message(fd, a[1], a[2]),
        Call::Sendmmsg => sockets::send_messages(fd, a[1], a[2], a[3]),
        Call::Recvmmsg => sockets::receive_messages(a),
        Call::Setsockopt => sockets::set_option(fd, a[1], a[2], a[3], a[4] as u32 as usize),
        Call::Getsockopt => sockets::option(fd, a[1], a[2], a[3], a[4]),
        Call::Shutdown => sockets::shut_down(fd, a[1]),

        // Memory.
        Call::Mmap => memory::map(a),
        Call::Munmap => memory::unmap(a[0], a[1]),
        Call::Mprotect | Call::PkeyMprotect => memory::protect(a[0], a[1], a[2]),
        Call::Mremap => memory::remap(a),
        Call::Brk => memory::set_break(a[0]),
        Call::Madvise => memory::advise(a[0], a[1], a[2]),
        Call::Msync => memory::sync(a[0], a[1], a[2]),
        Call::Mincore => memory::resident(a[0], a[1], a[2]),
        Call::Mlock => memory::lock(a[0], a[1], 0),
        Call::Mlock2 => memory::lock(a[0], a[1], a[2]),
        // No page ever leaves memory.
        Call::Munlock | Call::Mlockall | Call::Munlockall => Ok(0),

        // Processes and threads.
        Call::Clone => processes::clone(a),
        Call::Clone3 => processes::clone3(a[0], a[1]),
        Call::Fork => processes::fork(),
        Call::Vfork => processes::vfork(),
        Call::Exit => processes::exit_thread(a[0]),
        Call::ExitGroup => processes::exit(a[0]),
        Call::Wait4 => processes::wait4(a[0] as i32, a[1], a[2], a[3]),
        Call::Waitid => processes::waitid(a[0], a[1] as i32, a[2], a[3], a[4]),
        Call::Getpid => Ok(task::current_process().id as usize),
        Call::Gettid => Ok(task::current().id() as usize),
        Call::Getppid => processes::parent(),
        Call::Getpgrp => processes::group(0),
        Call::Getpgid => processes::group(a[0] as i32),
        Call::Setpgid => processes::set_group(a[0] as i32, a[1] as i32),
        Call::Getsid => processes::session(a[0] as i32),
        Call::Setsid => processes::new_session(),
        Call::SetTidAddress => processes::set_clear_address(a[0]),
        Call::SetRobustList => processes::set_robust_list(a[0], a[1]),
        Call::GetRobustList => processes::robust_list(a[0] as i32, a[1], a[2]),
        Call::SchedYield => {
            task::yield_now();
            Ok(0)
        }
        Call::SchedGetaffinity => processes::affinity(a[1], a[2]),
        Call::SchedSetaffinity => Ok(0),
        Call::SchedGetscheduler
        | Call::SchedSetscheduler
        | Call::SchedSetparam
        | Call::SchedSetattr => Ok(0),
        Call::SchedGetparam => processes::scheduling_parameter(a[1]),
        Call::SchedGetPriorityMax | Call::SchedGetPriorityMin => {
            Ok(processes::priority_bound(call, a[0]))
        }
        Call::SchedRrGetInterval => processes::scheduling_interval(a[1]),
        Call::Getpriority => processes::check_priority(a[0], a[1] as i32).map(|()| 20),
        Call::Setpriority => processes::check_priority(a[0], a[1] as i32).map(|()| 0),
        Call::IoprioSet => Ok(0),
        Call::IoprioGet => Ok(0),
        Call::Getcpu => processes::processor(a[0], a[1]),
        Call::Prctl => processes::control(a),
        Call::ArchPrctl => processes::set_thread_pointer(a[0], a[1]),
        Call::Prlimit64 => processes::limit(a[0] as i32, a[1], a[2], a[3]),
        Call::Getrlimit => processes::limit(0, a[0], 0, a[1]),
        Call::Setrlimit => processes::limit(0, a[0], a[1], 0),
        Call::Getrusage => processes::usage(a[0] as i32, a[1]),
        Call::Times => processes::times(a[0]),
        Call::Unshare | Call::Setns => Err(Errno::PERM),
        Call::Capget => processes::capabilities(a[0], a[1]),
        Call::Capset => processes::set_capabilities(a[0], a[1]),
        Call::Getuid => Ok(processes::credentials().users[0] as usize),
        Call::Geteuid => Ok(processes::credentials().users[1] as usize),
        Call::Getgid => Ok(processes::credentials().groups[0] as usize),
        Call::Getegid => Ok(processes::credentials().groups[1] as usize),
        Call::Getresuid => processes::identities(false, a),
        Call::Getresgid => processes::identities(true, a),
        Call::Setuid
        | Call::Setreuid
        | Call::Setresuid
        | Call::Setgid
        | Call::Setregid
        | Call::Setresgid => processes::set_identities(call, a),
        Call::Setfsuid => Ok(processes::credentials().user() as usize),
        Call::Setfsgid => Ok(processes::credentials().group() as usize),
        Call::Getgroups => processes::groups(a[0], a[1]),
        Call::Setgroups => processes::set_groups(a[0], a[1]),
        Call::Futex => processes::futex(a),
        Call::Ptrace => Err(Errno::PERM),
        Call::Personality => Ok(0),
        Call::Membarrier => processes::memory_barrier(a[0], a[1]),
        Call::SchedGetattr => processes::scheduling_attributes(a[1], a[2]),
        Call::ProcessVmReadv => memory::read_other(a),
        Call::ProcessVmWritev => memory::write_other(a),
        Call::Kcmp => processes::compare(a),
        Call::RestartSyscall => Err(Errno::INTR),

        // System V.
        Call::Shmget => sysv::get_memory(fd, a[1], a[2]),
        Call::Shmat => sysv::attach(fd, a[1], a[2]),
        Call::Shmdt => sysv::detach(a[0]),
        Call::Shmctl => sysv::control_memory(fd, a[1], a[2]),
        Call::Semget => sysv::get_semaphores(fd, a[1], a[2]),
        Call::Semop => sysv::operate(fd, a[1], a[2], 0),
        Call::Semtimedop => sysv::operate(fd, a[1], a[2], a[3]),
        Call::Semctl => sysv::control_semaphores(fd, a[1], a[2], a[3]),
        Call::Msgget => sysv::get_messages(fd, a[1]),
        Call::Msgsnd => sysv::send(fd, a[1], a[2], a[3]),
        Call::Msgrcv => sysv::receive(a),
        Call::Msgctl => sysv::control_messages(fd, a[1], a[2]),

        // POSIX message queues.
        Call::MqOpen => message_queues::open(a[0], a[1], a[2], a[3]),
        Call::MqUnlink => message_queues::remove(a[0]),
        Call::MqTimedsend => message_queues::send(a),
        Call::MqTimedreceive => message_queues::receive(a),
        Call::MqNotify => message_queues::notify(fd, a[1]),
        Call::MqGetsetattr => message_queues::attributes(fd, a[1], a[2]),

        // Signals.
        Call::Kill => signals::kill(a[0] as i32, a[1]),
        Call::Tkill => signals::kill_thread(None, a[0] as i32, a[1]),
        Call::Tgkill => signals::kill_thread(Some(a[0] as i32), a[1] as i32, a[2]),
        Call::RtSigaction => signals::action(a[0], a[1], a[2], a[3]),
        Call::RtSigprocmask => signals::mask(a[0], a[1], a[2], a[3]),
        Call::RtSigpending => signals::pending(a[0], a[1]),
        Call::RtSigsuspend => signals::suspend(a[0], a[1]),
        Call::RtSigtimedwait => signals::timed_wait(a[0], a[1], a[2], a[3]),
        Call::RtSigqueueinfo => signals::queue(a[0] as i32, None, a[1], a[2]),
        Call::RtTgsigqueueinfo => signals::queue(a[0] as i32, Some(a[1] as i32), a[2], a[3]),
        Call::Sigaltstack => signals::alternate_stack(a[0], a[1]),
        Call::Pause => signals::pause(),

        // Time.
        Call::ClockGettime => times::clock(a[0], a[1]),
        Call::ClockSettime => times::set_clock(a[0], a[1]),
        Call::ClockGetres => times::resolution(a[0], a[1]),
        Call::Gettimeofday => times::time_of_day(a[0], a[1]),
        Call::Time => times::seconds(a[0]),
        Call::Nanosleep => times::sleep(a[0], a[1]),
        Call::ClockNanosleep => times::clock_sleep(a[0], a[1], a[2], a[3]),
        Call::Alarm => times::alarm(a[0]),
        Call::Setitimer => times::set_interval_timer(a[0], a[1], a[2]),
        Call::TimerCreate => times::create_timer(a[0], a[1], a[2]),
        Call::TimerSettime => times::set_timer(fd, a[1], a[2], a[3]),
        Call::TimerGettime => times::timer_setting(fd, a[1]),
        Call::TimerGetoverrun => times::timer_overrun(fd),
        Call::TimerDelete => times::delete_timer(fd),
        Call::Getitimer => times::interval_timer(a[0], a[1]),

        // The system.
        Call::Uname => system::names(a[0]),
        Call::Sysinfo => system::status(a[0]),
        Call::Getrandom => system::random(a[0], a[1], a[2]),
        Call::Sethostname => system::set_host_name(a[0], a[1]),
        Call::Setdomainname => Ok(0),
        Call::Syslog => Ok(0),
        Call::Reboot => system::reboot(a[2]),
        Call::Mount => system::mount(a),
        Call::Umount2 => system::unmount(a[0]),
        // What only an administrator of a real machine does.
        Call::Acct
        | Call::Adjtimex
        | Call::ClockAdjtime
        | Call::DeleteModule
        | Call::FanotifyInit
        | Call::FinitModule
        | Call::InitModule
        | Call::Ioperm
        | Call::Iopl
        | Call::KexecFileLoad
        | Call::KexecLoad
        | Call::PivotRoot
        | Call::Quotactl
        | Call::QuotactlFd
        | Call::Settimeofday
        | Call::Swapoff
        | Call::Swapon
        | Call::Vhangup => Err(Errno::PERM),
        _ => Err(Errno::NOSYS),
    }
}

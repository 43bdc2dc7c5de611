//! What the kernel refuses to the runtime by its own filter (seccomp(2)), on every engine and whatever an engine's default profile lets through:
//! doors to the kernel that functions have no use for, and address families that leave the sandbox beside its network.

use libc::{
    BPF_ABS, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W, c_int, c_long,
    sock_filter,
};
use rustix::io::Errno;

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xC000_003E; // AUDIT_ARCH_X86_64
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xC000_00B7; // AUDIT_ARCH_AARCH64

/// Numbers from here on are x32's, other names for the same calls.
#[cfg(target_arch = "x86_64")]
const FIRST_FOREIGN: u32 = 0x4000_0000;
#[cfg(target_arch = "aarch64")]
const FIRST_FOREIGN: u32 = u32::MAX;

/// Refused with EPERM.
const REFUSED: [c_long; 32] = [
    // Large and young parts of the kernel, or limits that are one user's on the whole host.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_userfaultfd,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_fanotify_init,
    // File systems and namespaces.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_open_by_handle_at,
    libc::SYS_setns,
    libc::SYS_unshare,
    // The machine.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
];

/// New namespaces (clone(2)), the one of users among them: CLONE_NEWNS, CGROUP, UTS, IPC, USER, PID, NET.
const NEW_NAMESPACES: u32 = 0x7E02_0000;

/// Address families that a sandbox confines. AF_VSOCK speaks to the hypervisor past every network namespace, AF_ALG and others are doors to the kernel.
const FAMILIES: [c_int; 4] = [
    libc::AF_UNIX,
    libc::AF_INET,
    libc::AF_INET6,
    libc::AF_NETLINK,
];

// Offsets in `struct seccomp_data`; of an argument, its low half on little-endian machines.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENT: u32 = 16;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;

const fn refuse(errno: c_int) -> u32 {
    libc::SECCOMP_RET_ERRNO | errno as u32
}

const fn step(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    }
}

const fn load(offset: u32) -> sock_filter {
    step(BPF_LD | BPF_W | BPF_ABS, offset, 0, 0)
}

const fn answer(verdict: u32) -> sock_filter {
    step(BPF_RET | BPF_K, verdict, 0, 0)
}

/// Goes on `yes` steps further where the loaded value is `k`, else `no` steps.
const fn equal(k: u32, yes: u8, no: u8) -> sock_filter {
    step(BPF_JMP | BPF_JEQ | BPF_K, k, yes, no)
}

const LENGTH: usize = 6 + 2 * REFUSED.len() + 2 + 5 + 3 + FAMILIES.len() + 2;

const PROGRAM: [sock_filter; LENGTH] = program();

const fn program() -> [sock_filter; LENGTH] {
    let mut program = [answer(ALLOW); LENGTH];
    program[0] = load(ARCH);
    program[1] = equal(ARCHITECTURE, 1, 0);
    program[2] = answer(refuse(libc::ENOSYS));
    program[3] = load(NUMBER);
    program[4] = step(BPF_JMP | BPF_JGE | BPF_K, FIRST_FOREIGN, 0, 1);
    program[5] = answer(refuse(libc::ENOSYS));
    let mut at = 6;
    let mut place = 0;
    while place < REFUSED.len() {
        program[at] = equal(REFUSED[place] as u32, 0, 1);
        program[at + 1] = answer(refuse(libc::EPERM));
        at += 2;
        place += 1;
    }
    // Its flags are in memory, out of a filter's sight: C libraries go on with clone(2).
    program[at] = equal(libc::SYS_clone3 as u32, 0, 1);
    program[at + 1] = answer(refuse(libc::ENOSYS));
    program[at + 2] = equal(libc::SYS_clone as u32, 0, 4);
    program[at + 3] = load(ARGUMENT);
    program[at + 4] = step(BPF_JMP | BPF_JSET | BPF_K, NEW_NAMESPACES, 0, 1);
    program[at + 5] = answer(refuse(libc::EPERM));
    program[at + 6] = answer(ALLOW);
    at += 7;
    program[at] = equal(libc::SYS_socket as u32, 1, 0);
    program[at + 1] = answer(ALLOW);
    program[at + 2] = load(ARGUMENT);
    at += 3;
    place = 0;
    while place < FAMILIES.len() {
        // To the last step, which allows.
        let rest = (FAMILIES.len() - place) as u8;
        program[at] = equal(FAMILIES[place] as u32, rest, 0);
        at += 1;
        place += 1;
    }
    program[at] = answer(refuse(libc::EAFNOSUPPORT));
    program
}

/// Installs it for this thread and all that comes of it. Needs no_new_privs; allocates nothing.
///
/// # Errors
/// The kernel's: it may be built without filters.
pub(crate) fn install() -> Result<(), Errno> {
    let mut program = PROGRAM;
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: `filter` points to `len` instructions, which the kernel copies before it returns.
    let outcome = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::c_ulong::from(libc::SECCOMP_MODE_FILTER),
            &raw const filter,
        )
    };
    match outcome {
        0 => Ok(()),
        // SAFETY: gives a pointer to this thread's errno, which is always valid.
        _ => Err(Errno::from_raw_os_error(unsafe {
            *libc::__errno_location()
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the program on a call, as the kernel would.
    fn verdict(arch: u32, number: u32, argument: u32) -> u32 {
        let (mut at, mut value) = (0, 0);
        loop {
            let step = PROGRAM[at];
            at += 1;
            let code = u32::from(step.code);
            let jump = |yes: bool| usize::from(if yes { step.jt } else { step.jf });
            if code == BPF_RET | BPF_K {
                return step.k;
            } else if code == BPF_LD | BPF_W | BPF_ABS {
                value = match step.k {
                    NUMBER => number,
                    ARCH => arch,
                    ARGUMENT => argument,
                    other => panic!("reads at {other}"),
                };
            } else if code == BPF_JMP | BPF_JEQ | BPF_K {
                at += jump(value == step.k);
            } else if code == BPF_JMP | BPF_JGE | BPF_K {
                at += jump(value >= step.k);
            } else if code == BPF_JMP | BPF_JSET | BPF_K {
                at += jump(value & step.k != 0);
            } else {
                panic!("unknown step {code:#x}");
            }
        }
    }

    fn native(number: c_long, argument: c_int) -> u32 {
        verdict(ARCHITECTURE, number as u32, argument as u32)
    }

    #[test]
    fn refuses_what_is_listed_and_nothing_else() {
        for number in 0..600 {
            let expected = match number {
                _ if REFUSED.contains(&number) => refuse(libc::EPERM),
                libc::SYS_clone3 => refuse(libc::ENOSYS),
                libc::SYS_socket => refuse(libc::EAFNOSUPPORT),
                _ => ALLOW,
            };
            assert_eq!(native(number, 0), expected, "{number}");
        }
    }

    #[test]
    fn sockets_are_of_families_that_a_sandbox_confines() {
        for family in 1..60 {
            let expected = match FAMILIES.contains(&family) {
                true => ALLOW,
                false => refuse(libc::EAFNOSUPPORT),
            };
            assert_eq!(native(libc::SYS_socket, family), expected, "{family}");
        }
    }

    #[test]
    fn processes_and_threads_are_made_in_the_namespaces_that_are_there() {
        let thread = libc::CLONE_VM | libc::CLONE_THREAD | libc::CLONE_SIGHAND | libc::CLONE_FILES;
        for flags in [libc::SIGCHLD, thread, libc::CLONE_VM | libc::CLONE_VFORK] {
            assert_eq!(native(libc::SYS_clone, flags), ALLOW);
        }
        for flags in [libc::CLONE_NEWUSER, libc::CLONE_NEWNET, libc::CLONE_NEWNS] {
            assert_eq!(
                native(libc::SYS_clone, flags | libc::SIGCHLD),
                refuse(libc::EPERM)
            );
        }
    }

    #[test]
    fn other_machines_calls_are_refused_as_a_whole() {
        assert_eq!(verdict(0x4000_0003, 20, 0), refuse(libc::ENOSYS), "i386");
        #[cfg(target_arch = "x86_64")]
        assert_eq!(
            verdict(ARCHITECTURE, FIRST_FOREIGN | 1, 0),
            refuse(libc::ENOSYS)
        );
    }
}

//! Standard input and output of a program that is run once: bytes between pipes and the call stream. Pipes and not the stream itself, as programs open
//! `/dev/stdin` and `/dev/stdout`, which a socket refuses.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::pipe::{PipeFlags, pipe_with};

use crate::output::allow_again;
use crate::threads::spawn;

/// Bytes that are passed on at a time: what a pipe holds.
const PIECE: usize = 64 * 1024;

/// A pipe's mode: the program's user may open its end again, by `/dev/stdin` or `/dev/stdout`.
const READABLE: u32 = 0o644;
const WRITABLE: u32 = 0o622;

/// The program's ends.
pub(crate) struct Ends {
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
}

/// Makes the pipes and starts the threads that pass bytes on. What the host sends is the program's input, to the end of the sending half; the program's
/// output goes back, and when nobody has its end open any more, so ends the agent's half.
pub(crate) fn relay(stream: UnixStream) -> io::Result<Ends> {
    let (stdin, to_program) = pipe_with(PipeFlags::CLOEXEC)?;
    let (from_program, stdout) = pipe_with(PipeFlags::CLOEXEC)?;
    allow_again(&stdin, READABLE)?;
    allow_again(&stdout, WRITABLE)?;
    let input = stream.try_clone()?;
    spawn("input", move || feed(input, File::from(to_program)))?;
    spawn("relay", move || drain(File::from(from_program), &stream))?;
    Ok(Ends { stdin, stdout })
}

/// Passes input on. Where the program has closed its end, the rest is read and dropped, so that the host is not held up.
fn feed(mut host: UnixStream, program: File) {
    let mut program = Some(program);
    let mut buffer = vec![0; PIECE];
    loop {
        match host.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => {
                if let Some(pipe) = &mut program
                    && pipe.write_all(&buffer[..count]).is_err()
                {
                    program = None;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// Passes output on, to its end.
fn drain(mut program: File, host: &UnixStream) {
    let mut buffer = vec![0; PIECE];
    let mut to_host = host;
    loop {
        match program.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                if to_host.write_all(&buffer[..count]).is_err() {
                    break;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    // The host may have closed it already.
    let _ = host.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_pass_both_ways_and_each_end_is_told() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let ends = relay(theirs).unwrap();
        let all: Vec<u8> = (0..1 << 20).map(|n: u32| (n % 251) as u8).collect();
        let echo = std::thread::spawn(move || {
            io::copy(&mut File::from(ends.stdin), &mut File::from(ends.stdout)).unwrap()
        });
        let sent = all.clone();
        let mut writer = ours.try_clone().unwrap();
        let sending = std::thread::spawn(move || {
            writer.write_all(&sent).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let mut received = Vec::new();
        (&ours).read_to_end(&mut received).unwrap();
        assert_eq!(received, all);
        assert_eq!(echo.join().unwrap(), 1 << 20);
        sending.join().unwrap();
    }

    #[test]
    fn input_that_nobody_reads_does_not_hold_up_the_host() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let ends = relay(theirs).unwrap();
        drop(ends.stdin);
        ours.write_all(&vec![0; 4 << 20]).unwrap();
        drop(ends.stdout);
        assert_eq!(ours.read(&mut [0]).unwrap(), 0);
    }
}

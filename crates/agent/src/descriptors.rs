use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;

use rustix::io::IoSlice;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

/// What comes with a handed-over stream. Node.js takes descriptors on its own channel only, and in this form only: a handle, as it is (Node.js sources,
/// `lib/internal/child_process.js`).
const MESSAGE: &[u8] = b"{\"cmd\":\"NODE_HANDLE\",\"type\":\"net.Native\",\"msg\":\"call\"}\n";

/// Gives the number of `old` to what `new` stands for; what it stood for is closed. Threads that hold the number use the new one from then on.
pub(crate) fn replace(old: &UnixStream, new: &UnixStream) -> io::Result<()> {
    // SAFETY: both descriptors are open, since they are borrowed. `old` stays one, for a stream socket as before.
    let done = unsafe { libc::dup3(new.as_raw_fd(), old.as_raw_fd(), libc::O_CLOEXEC) };
    match done {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Hands a stream over to another process.
pub(crate) fn hand_over(channel: &UnixStream, stream: &UnixStream) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let streams = [stream.as_fd()];
    control.push(SendAncillaryMessage::ScmRights(&streams));
    // A message this short fits, or the other end is not what it should be.
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    let sent = sendmsg(channel, &[IoSlice::new(MESSAGE)], &mut control, flags)?;
    match sent == MESSAGE.len() {
        true => Ok(()),
        false => Err(io::ErrorKind::WriteZero.into()),
    }
}

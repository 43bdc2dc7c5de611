//! Requests to the kernel's routing netlink (rtnetlink(7)): several in one write, each acknowledged.

use std::{
    io,
    os::fd::OwnedFd,
    sync::atomic::{AtomicU32, Ordering},
};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};

use crate::NetworkError;

/// Length of `struct nlmsghdr`, and the alignment of everything behind it.
const HEADER: usize = 16;
const ALIGN: usize = 4;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_DUMP: u16 = 0x300;
/// Flags of requests that make something new.
pub(crate) const CREATE: u16 = 0x600; // NLM_F_CREATE | NLM_F_EXCL
/// Largest answer of the kernel to one read.
const BUFFER: usize = 64 << 10;

/// Requests that are sent together, with what each does in words.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    steps: Vec<&'static str>,
    /// Where each request begins.
    starts: Vec<usize>,
}

impl Batch {
    /// Begins a request: its kind, flags and the fixed part that comes before the attributes.
    pub(crate) fn request(&mut self, step: &'static str, kind: u16, flags: u16, fixed: &[u8]) {
        self.starts.push(self.bytes.len());
        self.steps.push(step);
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        let flags = flags | NLM_F_REQUEST | NLM_F_ACK;
        self.bytes.extend_from_slice(&flags.to_ne_bytes());
        // Its number, which the socket gives, and nobody's port.
        self.bytes.extend_from_slice(&[0; 8]);
        self.bytes.extend_from_slice(fixed);
        self.close();
    }

    /// An attribute of the request under way.
    pub(crate) fn attribute(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.close();
    }

    /// An attribute that holds others, with a fixed part before them.
    pub(crate) fn nested(&mut self, kind: u16, fixed: &[u8], fill: impl FnOnce(&mut Self)) {
        let at = self.bytes.len();
        self.attribute(kind, fixed);
        fill(self);
        let length = u16::try_from(self.bytes.len() - at).unwrap_or(u16::MAX);
        self.bytes[at..at + 2].copy_from_slice(&length.to_ne_bytes());
    }

    /// Pads, and writes the length of the request as it is now.
    fn close(&mut self) {
        self.bytes.resize(aligned(self.bytes.len()), 0);
        let start = self.starts.last().copied().unwrap_or_default();
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// In bytes, with its requests numbered from here on.
    fn numbered(&self, first: u32) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        let mut number = first;
        for start in &self.starts {
            bytes[start + 8..start + 12].copy_from_slice(&number.to_ne_bytes());
            number = number.wrapping_add(1);
        }
        bytes
    }
}

fn aligned(length: usize) -> usize {
    length.next_multiple_of(ALIGN)
}

/// A socket to the kernel; it speaks of the network namespace in which it was opened.
#[derive(Debug)]
pub(crate) struct Socket {
    socket: OwnedFd,
    /// Of the next request: what is left of an earlier one that was given up is told by its number.
    next: AtomicU32,
}

impl Socket {
    /// Opens one in the namespace of the calling thread.
    pub(crate) fn open() -> Result<Self, NetworkError> {
        socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            // NETLINK_ROUTE is protocol 0.
            None,
        )
        .map(|socket| Self {
            socket,
            next: AtomicU32::new(1),
        })
        .map_err(|errno| refused("open a netlink socket")(errno.into()))
    }

    /// Sends all and waits for all acknowledgements; the first refusal is the answer. The kernel goes on after a refusal.
    pub(crate) fn execute(&self, batch: &Batch) -> Result<(), NetworkError> {
        let step = |number: usize| batch.steps.get(number).copied().unwrap_or("do a request");
        let first = self
            .send(batch)
            .map_err(|errno| refused(step(0))(errno.into()))?;
        let mut buffer = vec![0; BUFFER];
        let mut outcome = Ok(());
        let mut missing = batch.steps.len();
        while missing > 0 {
            let (_, length) = recv(&self.socket, &mut buffer[..], RecvFlags::empty())
                .map_err(|errno| refused("answer")(errno.into()))?;
            for message in messages(&buffer[..length.min(BUFFER)]) {
                let number = message.number.wrapping_sub(first) as usize;
                if message.kind != NLMSG_ERROR || number >= batch.steps.len() {
                    continue;
                }
                missing = missing.saturating_sub(1);
                if let Some(error) = message.error()
                    && outcome.is_ok()
                {
                    outcome = Err(refused(step(number))(error));
                }
            }
        }
        outcome
    }

    /// The number of its first request.
    fn send(&self, batch: &Batch) -> rustix::io::Result<u32> {
        let count = u32::try_from(batch.steps.len()).unwrap_or(u32::MAX);
        let first = self.next.fetch_add(count, Ordering::Relaxed);
        send(&self.socket, &batch.numbered(first), SendFlags::empty())?;
        Ok(first)
    }

    /// All objects of a kind, each as its fixed part and attributes.
    pub(crate) fn dump(
        &self,
        step: &'static str,
        kind: u16,
        fixed: &[u8],
    ) -> Result<Vec<Vec<u8>>, NetworkError> {
        let failed = |errno: rustix::io::Errno| refused(step)(errno.into());
        let mut batch = Batch::default();
        batch.request(step, kind, NLM_F_DUMP, fixed);
        let number = self.send(&batch).map_err(failed)?;
        let mut found = Vec::new();
        let mut buffer = vec![0; BUFFER];
        loop {
            let (_, length) =
                recv(&self.socket, &mut buffer[..], RecvFlags::empty()).map_err(failed)?;
            let own = |message: &Message<'_>| message.number == number;
            for message in messages(&buffer[..length.min(BUFFER)]).filter(own) {
                match message.kind {
                    NLMSG_DONE => return Ok(found),
                    NLMSG_ERROR => {
                        return match message.error() {
                            Some(error) => Err(refused(step)(error)),
                            None => Ok(found),
                        };
                    }
                    _ => found.push(message.body.to_vec()),
                }
            }
        }
    }
}

fn refused(step: &'static str) -> impl FnOnce(io::Error) -> NetworkError {
    move |source| NetworkError::Kernel { step, source }
}

struct Message<'a> {
    kind: u16,
    number: u32,
    body: &'a [u8],
}

impl Message<'_> {
    /// What an NLMSG_ERROR says; none if it is an acknowledgement.
    fn error(&self) -> Option<io::Error> {
        match i32::from_ne_bytes(self.body.get(..4)?.try_into().ok()?) {
            0 => None,
            code => Some(io::Error::from_raw_os_error(-code)),
        }
    }
}

fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
        let message = Message {
            kind: u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?),
            number: u32::from_ne_bytes(bytes.get(8..12)?.try_into().ok()?),
            body: bytes.get(HEADER..length)?,
        };
        bytes = bytes.get(aligned(length)..).unwrap_or_default();
        Some(message)
    })
}

/// The attributes behind an object's fixed part, as kind and value.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?) as usize;
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?);
        let value = bytes.get(4..length)?;
        bytes = bytes.get(aligned(length)..).unwrap_or_default();
        Some((kind, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_laid_out_as_the_kernel_reads_them() {
        let mut batch = Batch::default();
        batch.request("a", 16, CREATE, &[1; 4]);
        batch.attribute(3, b"abc");
        batch.nested(18, &[], |batch| batch.attribute(1, b"veth"));
        batch.request("b", 17, 0, &[2; 4]);
        let bytes = batch.numbered(7);
        let found: Vec<_> = messages(&bytes).collect();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].kind, found[0].number), (16, 7));
        assert_eq!((found[1].kind, found[1].number), (17, 8));
        let inner: Vec<_> = attributes(&found[0].body[4..]).collect();
        assert_eq!(inner[0], (3, &b"abc"[..]));
        assert_eq!(inner[1].0, 18);
        let nested: Vec<_> = attributes(inner[1].1).collect();
        assert_eq!(nested, [(1, &b"veth"[..])]);
    }

    #[test]
    fn the_kernel_answers() {
        let socket = Socket::open().unwrap();
        // A route of this namespace, if it has any, has a fixed part of 12 bytes.
        for route in socket.dump("list routes", 26, &[0; 12]).unwrap() {
            assert!(route.len() >= 12);
        }
        let mut batch = Batch::default();
        batch.request("remove nothing", 17, 0, &[0; 16]);
        batch.attribute(3, b"no-such-link\0");
        let error = socket.execute(&batch).unwrap_err();
        assert!(matches!(
            error,
            NetworkError::Kernel {
                step: "remove nothing",
                ..
            }
        ));
    }

    #[test]
    fn answers_that_nobody_waited_for_are_passed_over() {
        let absent = |step| {
            let mut batch = Batch::default();
            batch.request(step, 17, 0, &[0; 16]);
            batch.attribute(3, b"no-such-link\0");
            batch
        };
        let socket = Socket::open().unwrap();
        socket.send(&absent("given up")).unwrap();
        socket.dump("list links", 18, &[0; 16]).unwrap();
        socket.send(&absent("given up")).unwrap();
        let error = socket.execute(&absent("waited for")).unwrap_err();
        assert!(error.to_string().contains("waited for"), "{error}");
    }
}

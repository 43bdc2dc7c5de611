use bytes::Bytes;

/// What `LogType=Tail` answers, in bytes (API reference: "the last 4 KB").
const TAIL: usize = 4_096;

/// The end of one invocation's log.
#[derive(Debug, Default)]
pub struct CallLog {
    /// The latest bytes; a multiple of the tail is kept, so that it is moved seldom.
    bytes: Vec<u8>,
}

impl CallLog {
    /// Adds a line, without its line feed.
    pub fn push(&mut self, line: &[u8]) {
        let kept = &line[line.len().saturating_sub(TAIL)..];
        self.bytes.extend_from_slice(kept);
        self.bytes.push(b'\n');
        if self.bytes.len() > 4 * TAIL {
            self.bytes.drain(..self.bytes.len() - TAIL);
        }
    }

    /// The last 4 KiB.
    pub fn tail(&self) -> &[u8] {
        &self.bytes[self.bytes.len().saturating_sub(TAIL)..]
    }

    /// The same, taken out.
    pub fn into_tail(mut self) -> Bytes {
        self.bytes.drain(..self.bytes.len().saturating_sub(TAIL));
        self.bytes.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_end() {
        let mut log = CallLog::default();
        log.push(b"START");
        assert_eq!(log.tail(), b"START\n");
        let mut whole = b"START\n".to_vec();
        for number in 0..10_000 {
            let line = format!("line {number}");
            log.push(line.as_bytes());
            whole.extend_from_slice(line.as_bytes());
            whole.push(b'\n');
            assert!(log.bytes.len() <= 5 * TAIL);
        }
        assert_eq!(log.tail(), &whole[whole.len() - TAIL..]);
        assert_eq!(log.into_tail(), whole[whole.len() - TAIL..]);
    }

    #[test]
    fn one_line_may_be_longer_than_the_tail() {
        let mut log = CallLog::default();
        log.push(&vec![b'x'; 100_000]);
        assert_eq!(log.tail().len(), TAIL);
        assert!(log.tail().ends_with(b"x\n"));
    }
}

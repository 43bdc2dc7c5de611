//! Which questions of sandboxes with the policy `internet` are passed on to the owner's name servers: those for records of a name, and nothing that
//! changes or lists a zone, notifies, or asks the server about itself (RFC 1035, 4.1; RFC 6895, 2.2 and 3.1).

/// Length of the header.
const HEADER: usize = 12;
const CLASS_IN: u16 = 1;
/// Transfers of a zone.
const IXFR: u16 = 251;
const AXFR: u16 = 252;
const NOT_IMPLEMENTED: u8 = 4;
const REFUSED: u8 = 5;

/// What is done with a message of a sandbox.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Pass,
    /// This is the answer.
    Deny(Vec<u8>),
    /// It is no question.
    Ignore,
}

/// Looks at a message that claims to be a question.
pub(crate) fn judge(message: &[u8]) -> Verdict {
    let Some(header) = message.get(..HEADER) else {
        return Verdict::Ignore;
    };
    if header[2] & 0x80 != 0 {
        return Verdict::Ignore;
    }
    if (header[2] >> 3) & 0xf != 0 {
        return Verdict::Deny(denial(header, &[], NOT_IMPLEMENTED));
    }
    // One question, and no records but additional ones (EDNS).
    let question = match header[4..10] {
        [0, 1, 0, 0, 0, 0] => question(message),
        _ => None,
    };
    match question {
        Some((_, kind, CLASS_IN)) if ![IXFR, AXFR].contains(&kind) => Verdict::Pass,
        Some((question, ..)) => Verdict::Deny(denial(header, question, REFUSED)),
        None => Verdict::Deny(denial(header, &[], REFUSED)),
    }
}

/// The question in bytes, its type and its class. Names in questions have no pointers.
fn question(message: &[u8]) -> Option<(&[u8], u16, u16)> {
    let mut at = HEADER;
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1 + length;
        match length {
            0 => break,
            1..=63 => {}
            _ => return None,
        }
    }
    let question = message.get(HEADER..at + 4)?;
    let [kind @ .., _, _] = message.get(at..at + 4)? else {
        return None;
    };
    let class = message.get(at + 2..at + 4)?;
    let number = |bytes: &[u8]| Some(u16::from_be_bytes(bytes.try_into().ok()?));
    Some((question, number(kind)?, number(class)?))
}

fn denial(header: &[u8], question: &[u8], code: u8) -> Vec<u8> {
    let mut answer = header.to_vec();
    // An answer to the same kind of request, with recursion as it was desired.
    answer[2] = (header[2] & 0x79) | 0x80;
    answer[3] = code;
    answer[4..].fill(0);
    answer[5] = u8::from(!question.is_empty());
    answer.extend_from_slice(question);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(opcode: u8, kind: u16, class: u16) -> Vec<u8> {
        let mut bytes = vec![7, 9, opcode << 3 | 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        bytes.extend(b"\x02db\x07example\0");
        bytes.extend(kind.to_be_bytes());
        bytes.extend(class.to_be_bytes());
        bytes
    }

    fn code(message: &[u8]) -> Option<u8> {
        match judge(message) {
            Verdict::Deny(answer) => {
                assert_eq!((&answer[..2], answer[2] & 0x80), (&[7, 9][..], 0x80));
                Some(answer[3])
            }
            _ => None,
        }
    }

    #[test]
    fn questions_for_records_pass() {
        for kind in [1, 5, 12, 15, 16, 28, 33, 65, 255] {
            assert_eq!(judge(&message(0, kind, 1)), Verdict::Pass, "{kind}");
        }
        let mut extended = message(0, 1, 1);
        extended[11] = 1;
        extended.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
        assert_eq!(judge(&extended), Verdict::Pass);
    }

    #[test]
    fn nothing_else_does() {
        for opcode in 1..16 {
            assert_eq!(code(&message(opcode, 6, 1)), Some(NOT_IMPLEMENTED));
        }
        for kind in [IXFR, AXFR] {
            assert_eq!(code(&message(0, kind, 1)), Some(REFUSED));
        }
        for class in [0, 3, 4, 254, 255] {
            assert_eq!(code(&message(0, 16, class)), Some(REFUSED));
        }
        // Two questions, one with records before the additional ones, one that points, one that is cut.
        for (at, value) in [(5, 2), (7, 1), (9, 1), (12, 0xc0)] {
            let mut odd = message(0, 1, 1);
            odd[at] = value;
            assert_eq!(code(&odd), Some(REFUSED), "{at}");
        }
        assert_eq!(code(&message(0, 1, 1)[..20]), Some(REFUSED));
        let mut answer = message(0, 1, 1);
        answer[2] |= 0x80;
        for ignored in [&answer[..], &[0; 11], &[]] {
            assert_eq!(judge(ignored), Verdict::Ignore);
        }
    }

    #[test]
    fn a_refusal_repeats_the_question() {
        let asked = message(0, AXFR, 1);
        let Verdict::Deny(answer) = judge(&asked) else {
            panic!("passed");
        };
        assert_eq!(answer[4..HEADER], [0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(answer[HEADER..], asked[HEADER..]);
    }
}

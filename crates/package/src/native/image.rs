//! Programs and libraries by their first bytes. Twenty of them say it all, so no library for whole files is used.

use std::fmt;

const ELF: &[u8] = b"\x7fELF";
/// ELF types that are loaded or run; object files and core dumps are data here.
const EXECUTABLE: u16 = 2;
const SHARED: u16 = 3;

/// The processor, word size and byte order that code is for, as ELF names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Machine {
    /// `e_machine`.
    pub(crate) processor: u16,
    /// 32 or 64; 0 for what ELF does not know.
    bits: u8,
    big_endian: bool,
}

/// A processor and what tools call it.
pub(crate) struct Names {
    processor: u16,
    /// Linux's and pip's name.
    pub(crate) linux: &'static str,
    /// npm's.
    pub(crate) npm: &'static str,
    /// Go's.
    pub(crate) go: &'static str,
}

const fn names(processor: u16, linux: &'static str, npm: &'static str, go: &'static str) -> Names {
    Names {
        processor,
        linux,
        npm,
        go,
    }
}

/// The processors that Linux distributions are made for.
const PROCESSORS: &[Names] = &[
    names(3, "i386", "ia32", "386"),
    names(8, "mips", "mips", "mips"),
    names(20, "ppc", "ppc", "ppc"),
    names(21, "ppc64le", "ppc64", "ppc64le"),
    names(22, "s390x", "s390x", "s390x"),
    names(40, "arm", "arm", "arm"),
    names(62, "x86_64", "x64", "amd64"),
    names(183, "aarch64", "arm64", "arm64"),
    names(243, "riscv64", "riscv64", "riscv64"),
    names(258, "loongarch64", "loong64", "loong64"),
];

const HOST_PROCESSOR: u16 = if cfg!(target_arch = "x86_64") {
    62
} else if cfg!(target_arch = "aarch64") {
    183
} else if cfg!(target_arch = "riscv64") {
    243
} else if cfg!(target_arch = "powerpc64") {
    21
} else if cfg!(target_arch = "s390x") {
    22
} else if cfg!(target_arch = "loongarch64") {
    258
} else {
    // None: then nothing can be told from a header.
    0
};

impl Machine {
    /// This one.
    pub(crate) const HOST: Self = Self {
        processor: HOST_PROCESSOR,
        bits: 64,
        big_endian: cfg!(target_endian = "big"),
    };

    pub(crate) fn names(self) -> Option<&'static Names> {
        PROCESSORS
            .iter()
            .find(|names| names.processor == self.processor)
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.names() {
            Some(names) => f.write_str(names.linux)?,
            None => write!(f, "processor {}", self.processor)?,
        }
        let order = if self.big_endian { "big" } else { "little" };
        write!(f, " ({} bit, {order}-endian)", self.bits)
    }
}

/// What a file is that a kernel would load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Image {
    /// Linux's.
    Elf(Machine),
    /// macOS's.
    MachO,
    /// Windows's.
    Pe,
}

impl Image {
    /// Reads the beginning of a file; none for data, scripts and what is too short.
    pub(crate) fn of(head: &[u8]) -> Option<Self> {
        match head {
            [0xcf | 0xce, 0xfa, 0xed, 0xfe, ..] | [0xfe, 0xed, 0xfa, 0xce | 0xcf, ..] => {
                Some(Self::MachO)
            }
            // Several in one file. Java's classes begin so as well, with their version, at least 45, where this has the number of programs.
            [0xca, 0xfe, 0xba, 0xbe | 0xbf, 0, 0, 0, 1..=32, ..] => Some(Self::MachO),
            [b'M', b'Z', ..] => Some(Self::Pe),
            _ if head.starts_with(ELF) => elf(head),
            _ => None,
        }
    }
}

fn elf(head: &[u8]) -> Option<Image> {
    let (class, order) = (*head.get(4)?, *head.get(5)?);
    let big_endian = order == 2;
    let short = |at: usize| -> Option<u16> {
        let bytes = [*head.get(at)?, *head.get(at + 1)?];
        Some(match big_endian {
            true => u16::from_be_bytes(bytes),
            false => u16::from_le_bytes(bytes),
        })
    };
    let kind = short(16)?;
    let bits = match class {
        1 => 32,
        2 => 64,
        _ => 0,
    };
    matches!(kind, EXECUTABLE | SHARED).then_some(Image::Elf(Machine {
        processor: short(18)?,
        bits,
        big_endian,
    }))
}

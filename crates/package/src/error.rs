use std::fmt::Display;

use thiserror::Error;

use crate::{NativeFault, check::megabytes};

/// Why a zip is refused. The messages are for the owner of the zip; the first ones are Lambda's.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PackageError {
    /// Not a zip, or one whose directory can't be read.
    #[error("Could not unzip uploaded file. Please check your file, then try to upload again.")]
    NotAZip,
    /// A zip that its readers would understand differently, or that is cut off.
    #[error("Could not unzip uploaded file: {problem}. Make the zip again.")]
    Structure {
        /// What was found; reads on from "Could not unzip uploaded file:".
        problem: String,
    },
    /// There is nothing in it.
    #[error("Uploaded file must be a non-empty zip")]
    Empty,
    /// The zip itself is too large (`RequestEntityTooLargeException`).
    #[error(
        "The zip has {found} bytes ({}); {limit} ({}) can be sent directly at most.{largest} Leave out what the function does not need.",
        megabytes(*found), megabytes(*limit)
    )]
    ZipTooLarge {
        /// A sentence about the largest files, packed, with a space before it.
        largest: String,
        /// In bytes.
        found: u64,
        /// In bytes.
        limit: u64,
    },
    /// Its files together are too large.
    #[error(
        "Unzipped size must be smaller than {limit} bytes ({}); the zip states {found} ({}).{largest} Leave out what the function does not need.",
        megabytes(*limit), megabytes(*found)
    )]
    UnpackedTooLarge {
        /// As the zip states them, in bytes.
        found: u64,
        /// A sentence about the largest files, with a space before it.
        largest: String,
        /// In bytes.
        limit: u64,
    },
    /// Too many entries.
    #[error("The zip has more than {limit} files, folders and links, which is the limit.")]
    TooManyEntries {
        /// The most.
        limit: usize,
    },
    /// A name that is not a relative path within the package.
    #[error("The name '{entry}' in the zip {fault}.")]
    Name {
        /// The name, made printable.
        entry: String,
        /// What is wrong with it.
        fault: NameFault,
    },
    /// Two files of one name.
    #[error("The zip has '{entry}' twice.")]
    Duplicate {
        /// The name.
        entry: String,
    },
    /// A file in something that is not a folder.
    #[error("'{entry}' is in '{parent}', which the zip has as a file or a link, not as a folder.")]
    ParentIsNoFolder {
        /// The file.
        entry: String,
        /// What should be a folder.
        parent: String,
    },
    /// A symbolic link to something outside of the package.
    #[error("The symbolic link '{entry}' points to '{target}', outside of the package.")]
    LinkLeaves {
        /// The link.
        entry: String,
        /// Where it points to.
        target: String,
    },
    /// Symbolic links that lead to each other.
    #[error("The symbolic link '{entry}' leads through more than {limit} links.")]
    LinkLoops {
        /// The link.
        entry: String,
        /// The most links that one may lead through.
        limit: usize,
    },
    /// Symbolic links that are too much work to follow.
    #[error(
        "The symbolic links of the zip take more than {limit} steps to follow; that was at '{entry}'."
    )]
    LinksTooLong {
        /// The link at which it was too much.
        entry: String,
        /// The most parts of paths that are walked.
        limit: usize,
    },
    /// Symbolic links whose targets together are too long.
    #[error(
        "The targets of the zip's symbolic links have more than {limit} bytes together; that was at '{entry}'."
    )]
    TargetsTooLarge {
        /// The link at which it was too much.
        entry: String,
        /// In bytes.
        limit: usize,
    },
    /// Two names, one a symbolic link's, that some file systems take for one.
    #[error(
        "'{entry}' and the symbolic link '{link}' differ only in case or in how accents are spelt. Rename one of them."
    )]
    TwinOfLink {
        /// The other entry.
        entry: String,
        /// The link.
        link: String,
    },
    /// A device, socket or named pipe.
    #[error(
        "'{entry}' is a special file (mode {mode:o}); only files, folders and symbolic links can be deployed."
    )]
    SpecialFile {
        /// The entry.
        entry: String,
        /// Its Unix mode.
        mode: u32,
    },
    /// An encrypted entry.
    #[error("'{entry}' is encrypted. Make the zip without a password.")]
    Encrypted {
        /// The entry.
        entry: String,
    },
    /// A compression that is neither "stored" nor "deflate".
    #[error("'{entry}' is compressed with {method}. Make the zip with deflate.")]
    Compression {
        /// The entry.
        entry: String,
        /// The method found.
        method: String,
    },
    /// Entries that share bytes, as in a zip bomb.
    #[error("'{entry}' shares bytes of the zip with '{other}', as in a zip bomb.")]
    Overlap {
        /// The entry.
        entry: String,
        /// The one before it.
        other: String,
    },
    /// An entry whose content is not what the zip's directory says.
    #[error("'{entry}' is damaged: {problem}. Make the zip again.")]
    Damaged {
        /// The entry.
        entry: String,
        /// What was found.
        problem: String,
    },
    /// The file that is to be run is not among the code.
    #[error("The code has no file '{entry}'. Name one that it has.")]
    NoEntry {
        /// The file's name, made printable.
        entry: String,
    },
    /// Code for another machine, system or language version.
    #[error(transparent)]
    Native(#[from] Box<NativeFault>),
}

impl PackageError {
    /// The refusal of an entry that is not as stated.
    pub(crate) fn damaged(entry: &str, problem: impl Display) -> Self {
        Self::Damaged {
            entry: entry.to_owned(),
            problem: problem.to_string(),
        }
    }
}

/// What is wrong with a name; reads on from "the name ...".
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum NameFault {
    #[error("is empty")]
    Empty,
    #[error("leaves the package with '..'")]
    Traversal,
    #[error("is an absolute path")]
    Absolute,
    #[error("has a backslash; make the zip with '/' between folders")]
    Backslash,
    #[error("begins with a drive letter")]
    Drive,
    #[error("has a control character")]
    Control,
    #[error("is not UTF-8; make the zip with UTF-8 names")]
    Encoding,
    #[error("has another one beside it in an extra field; make the zip with UTF-8 names")]
    Two,
    #[error("has {found} bytes; {limit} are the limit")]
    Long { found: usize, limit: usize },
    #[error("has a part of {found} bytes; {limit} are the limit")]
    LongPart { found: usize, limit: usize },
    #[error("has {found} levels; {limit} are the limit")]
    Deep { found: usize, limit: usize },
}

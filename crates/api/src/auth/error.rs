use thiserror::Error;

/// Why a request is not believed. Codes and words are AWS's; where those leave one helpless, the next step is added.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AuthError {
    /// No signature at all.
    #[error(
        "Missing Authentication Token. Sign the request with the key pair of Warren's data folder ('warren env' prints what AWS clients need)."
    )]
    Missing,
    /// An `Authorization` header that lacks something; says what.
    #[error("{0}")]
    Incomplete(String),
    /// Signed with another key pair.
    #[error(
        "The security token included in the request is invalid. The access key '{0}' is not this Warren's: 'warren env' prints the right one."
    )]
    UnknownKey(String),
    /// The signature is not what the request and the secret give.
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
    )]
    Mismatch,
    /// Well formed, but not acceptable here; says what and why.
    #[error("{0}")]
    NotAcceptable(String),
    /// A download link that ran out or was altered.
    #[error("{0}")]
    Link(&'static str),
}

impl AuthError {
    /// Lambda's error code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing => "MissingAuthenticationTokenException",
            Self::Incomplete(_) => "IncompleteSignatureException",
            Self::UnknownKey(_) => "UnrecognizedClientException",
            Self::Mismatch | Self::NotAcceptable(_) => "InvalidSignatureException",
            Self::Link(_) => "AccessDeniedException",
        }
    }

    /// The same in the words of the query protocol (STS).
    pub fn query_code(&self) -> &'static str {
        match self {
            Self::Missing => "MissingAuthenticationToken",
            Self::Incomplete(_) => "IncompleteSignature",
            Self::UnknownKey(_) => "InvalidClientTokenId",
            Self::Mismatch | Self::NotAcceptable(_) => "SignatureDoesNotMatch",
            Self::Link(_) => "AccessDenied",
        }
    }
}

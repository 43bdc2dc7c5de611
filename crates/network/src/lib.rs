#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

use warren_model::NetworkPolicy;

/// Whether this build can enforce a policy; otherwise a sentence that says what to choose.
pub fn admit(policy: &NetworkPolicy) -> Result<(), String> {
    match policy {
        NetworkPolicy::None => Ok(()),
        NetworkPolicy::Internet | NetworkPolicy::Allow(_) => Err(format!(
            "The network policy '{policy}' is not built yet, and Warren does not run a function with less isolation than it was asked for. Choose 'none'."
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_enforced_is_admitted() {
        assert!(admit(&NetworkPolicy::None).is_ok());
        let refusal = admit(&NetworkPolicy::Internet).unwrap_err();
        assert!(refusal.contains("'internet'"), "{refusal}");
    }
}

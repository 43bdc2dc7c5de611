//! The members that CreateFunction and UpdateFunctionConfiguration share.

use serde_json::Value;
use warren_model::{Environment, EphemeralStorage, InertSettings, Invalid, Memory, Timeout};

use super::{configuration::architecture, error::LambdaError, members::Members};

/// What a request says about a version's configuration; what it does not say is none.
#[derive(Debug, Default)]
pub(super) struct Settings {
    pub(super) runtime: Option<String>,
    pub(super) handler: Option<String>,
    pub(super) role: Option<String>,
    pub(super) description: Option<String>,
    pub(super) timeout: Option<Timeout>,
    pub(super) memory: Option<Memory>,
    pub(super) ephemeral_storage: Option<EphemeralStorage>,
    pub(super) environment: Option<Environment>,
    pub(super) snap_start: Option<bool>,
}

impl Settings {
    /// Takes them from a request.
    pub(super) fn take(members: &mut Members) -> Result<Self, LambdaError> {
        Ok(Self {
            runtime: members.string("Runtime")?,
            handler: members.string("Handler")?,
            role: members.string("Role")?,
            description: members.string("Description")?,
            timeout: members.integer("Timeout")?.map(Timeout::new).transpose()?,
            memory: members
                .integer("MemorySize")?
                .map(Memory::new)
                .transpose()?,
            ephemeral_storage: ephemeral_storage(members)?,
            environment: environment(members)?,
            snap_start: snap_start(members)?,
        })
    }
}

/// What is left of a request: settings that are kept without effect.
pub(super) fn inert(members: Members) -> Result<InertSettings, LambdaError> {
    super::inert::normalize(members.finish()?)
}

fn ephemeral_storage(members: &mut Members) -> Result<Option<EphemeralStorage>, LambdaError> {
    let Some(mut inner) = members.object("EphemeralStorage", "EphemeralStorage.")? else {
        return Ok(None);
    };
    let size = inner
        .integer("Size")?
        .ok_or_else(|| LambdaError::missing("ephemeralStorage.size"))?;
    inner.finish_plain()?;
    Ok(Some(EphemeralStorage::new(size)?))
}

fn environment(members: &mut Members) -> Result<Option<Environment>, LambdaError> {
    let Some(mut inner) = members.object("Environment", "Environment.")? else {
        return Ok(None);
    };
    let variables = inner.strings("Variables")?.unwrap_or_default();
    inner.finish_plain()?;
    Ok(Some(Environment::new(variables)?))
}

/// Lambda applies it to published versions alone; here `$LATEST` is restored as well.
fn snap_start(members: &mut Members) -> Result<Option<bool>, LambdaError> {
    let Some(mut inner) = members.object("SnapStart", "SnapStart.")? else {
        return Ok(None);
    };
    let apply = inner.string("ApplyOn")?;
    inner.finish_plain()?;
    match apply.as_deref() {
        None => Ok(None),
        Some("None") => Ok(Some(false)),
        Some("PublishedVersions") => Ok(Some(true)),
        Some(other) => Err(Invalid::constraint(
            "snapStart.applyOn",
            other,
            "Member must satisfy enum value set: [PublishedVersions, None]",
        )
        .into()),
    }
}

/// Code runs on this machine's processor and no other.
pub(super) fn check_architecture(members: &mut Members) -> Result<(), LambdaError> {
    let Some(values) = members.list("Architectures")? else {
        return Ok(());
    };
    let here = architecture();
    match values.as_slice() {
        [Value::String(asked)] if asked == here => Ok(()),
        [Value::String(asked)] if asked == "x86_64" || asked == "arm64" => {
            Err(LambdaError::parameter(format!(
                "Architectures: this Warren's machine is {here} and can't run code for {asked}. Build the code for {here} and set Architectures to ['{here}']."
            )))
        }
        other => Err(LambdaError::new(
            super::error::Code::ValidationException,
            format!(
                "1 validation error detected: Value '{}' at 'architectures' failed to satisfy constraint: Member must have one of the enum value set: [x86_64, arm64]",
                Value::from(other.to_vec())
            ),
        )),
    }
}

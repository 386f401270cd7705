//! Names: what people call endpoints, deployments, projects and nodes.
//!
//! Endpoint and deployment names follow Azure's rule (3 to 32 characters, a letter first, letters, digits and single
//! dashes, no dash last). They are compared without case, because they become host names and Azure's own SDK lowers
//! them; so they are stored in lower case. A copy of a name shares its text: a replica names its deployment, and there
//! are a million replicas.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// Why a text is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a valid {noun} name: {why}")]
pub struct NameError {
    text: String,
    noun: &'static str,
    why: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $noun:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` against the rules and wraps it in lower case.
            pub fn new(text: &str) -> Result<Self, NameError> {
                $check(text).map_err(|why| NameError { text: text.chars().take(80).collect(), noun: $noun, why })?;
                Ok(Self(text.to_ascii_lowercase().into()))
            }

            /// Returns the name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.as_str().to_owned()
            }
        }

        /// Lets a map keyed by names be searched with plain text (already in lower case).
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name! {
    /// The address clients call.
    EndpointName, "endpoint", check_azure
}
name! {
    /// A model, environment and size behind an endpoint; unique within it.
    DeploymentName, "deployment", check_azure
}
name! {
    /// A host.
    NodeName, "node", check_host
}

name! {
    /// Who owns endpoints, and whose quota they count against.
    ProjectName, "project", check_host
}

/// The project of every endpoint that names none.
const DEFAULT_PROJECT: &str = "default";

// === impl ProjectName ===

impl Default for ProjectName {
    fn default() -> Self {
        Self(DEFAULT_PROJECT.into())
    }
}

/// An endpoint and one of its deployments: `fraud/blue`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeploymentKey {
    /// The endpoint.
    pub endpoint: EndpointName,
    /// The deployment.
    pub deployment: DeploymentName,
}

fn check_azure(text: &str) -> Result<(), &'static str> {
    if !(3..=32).contains(&text.len()) {
        return Err("a name has 3 to 32 characters");
    }
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err("a name has only letters, digits and dashes");
    }
    if !text.as_bytes()[0].is_ascii_alphabetic() {
        return Err("a name starts with a letter");
    }
    if text.ends_with('-') || text.contains("--") {
        return Err("dashes are single and never last");
    }
    Ok(())
}

fn check_host(text: &str) -> Result<(), &'static str> {
    if !(1..=63).contains(&text.len()) {
        return Err("a name has 1 to 63 characters");
    }
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')) {
        return Err("a name has only letters, digits, dashes, dots and underscores");
    }
    if !text.as_bytes()[0].is_ascii_alphanumeric() {
        return Err("a node name starts with a letter or digit");
    }
    Ok(())
}

// === impl DeploymentKey ===

impl DeploymentKey {
    /// Joins an endpoint and a deployment.
    pub fn new(endpoint: EndpointName, deployment: DeploymentName) -> Self {
        Self { endpoint, deployment }
    }
}

impl fmt::Display for DeploymentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.endpoint, self.deployment)
    }
}

impl FromStr for DeploymentKey {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (endpoint, deployment) = text.split_once('/').ok_or_else(|| NameError {
            text: text.chars().take(80).collect(),
            noun: "deployment",
            why: "expected ENDPOINT/DEPLOYMENT",
        })?;
        Ok(Self { endpoint: endpoint.parse()?, deployment: deployment.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_azures_rule() {
        for (text, ok) in [
            ("fraud", true),
            ("Fraud-v2", true),
            ("a-b-c", true),
            ("ab", false),
            ("1fraud", false),
            ("fraud-", false),
            ("fraud--v2", false),
            ("my_endpoint", false),
            ("frâud", false),
            ("", false),
            ("abcdefghijklmnopqrstuvwxyzabcdef", true),
            ("abcdefghijklmnopqrstuvwxyzabcdefg", false),
        ] {
            assert_eq!(EndpointName::new(text).is_ok(), ok, "{text}");
        }
        assert_eq!(DeploymentName::new("Blue"), DeploymentName::new("blue"));
    }
}

//! How enums and bytes look in JSON: the words people use, not numbers.

macro_rules! words {
    ($(#[$doc:meta])* $module:ident, $proto:ident, $($variant:ident = $word:literal),+) => {
        $(#[$doc])*
        pub mod $module {
            use serde::{Deserialize, Deserializer, Serializer, de::Error};

            use crate::store::v1::$proto as Proto;

            /// Writes the word; an unknown number becomes `unspecified`.
            pub fn serialize<S: Serializer>(value: &i32, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(match Proto::try_from(*value) {
                    $(Ok(Proto::$variant) => $word,)+
                    _ => "unspecified",
                })
            }

            /// Reads the word.
            pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
                match String::deserialize(deserializer)?.as_str() {
                    $($word => Ok(Proto::$variant as i32),)+
                    "unspecified" => Ok(0),
                    other => Err(D::Error::unknown_variant(other, &[$($word),+])),
                }
            }
        }
    };
}

words! {
    /// How callers prove who they are.
    auth_mode, AuthMode, Key = "key", None = "none"
}
words! {
    /// What the bytes of an asset are.
    asset_kind, AssetKind, File = "file", Folder = "folder"
}
words! {
    /// What kind of model it is.
    model_type, ModelType, CustomModel = "custom_model", MlflowModel = "mlflow_model", TritonModel = "triton_model"
}

words! {
    /// Which of two copies stays.
    reconcile, Reconcile, KeepServing = "keep_serving", KeepOriginal = "keep_original",
    KeepReplacement = "keep_replacement"
}
words! {
    /// What instances keep apart by.
    spread_by, SpreadBy, Node = "node", Rack = "rack", Zone = "zone", None = "none"
}
words! {
    /// How much an alert matters.
    alert_severity, AlertSeverity, Warning = "warning", Critical = "critical"
}

/// Bytes as hex digits.
pub mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes hex digits.
    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&::hex::encode(bytes))
    }

    /// Reads hex digits.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        ::hex::decode(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

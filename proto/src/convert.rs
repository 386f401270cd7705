//! The shape of every conversion, and the small ones that all of them use.

use berth_core::{
    error::{Code, Error},
    id::Digest,
};

/// A message that stands for a core type.
pub(crate) trait Wire<T>: Sized {
    /// Writes the value down.
    fn wire(value: &T) -> Self;

    /// Reads the value back, checking everything.
    fn core(self) -> Result<T, Error>;
}

/// Refuses bytes that do not hold what they should.
pub(crate) fn damaged(what: impl Into<String>) -> Error {
    Error::new(Code::StoreDamaged, "a message cannot be read").why(what)
}

/// Unwraps a field that every writer sets.
pub(crate) fn need<T>(field: Option<T>, name: &str) -> Result<T, Error> {
    field.ok_or_else(|| damaged(format!("`{name}` is missing")))
}

/// Reads a list.
pub(crate) fn all<W: Wire<T>, T>(list: Vec<W>) -> Result<Vec<T>, Error> {
    list.into_iter().map(Wire::core).collect()
}

/// Writes a list.
pub(crate) fn wires<'a, W: Wire<T>, T: 'a>(list: impl IntoIterator<Item = &'a T>) -> Vec<W> {
    list.into_iter().map(W::wire).collect()
}

/// Reads a name.
pub(crate) fn name<N: std::str::FromStr>(text: &str) -> Result<N, Error>
where
    N::Err: std::fmt::Display,
{
    text.parse().map_err(|error: N::Err| damaged(error.to_string()))
}

/// Reads 32 bytes.
pub(crate) fn bytes32(bytes: &[u8], field: &str) -> Result<[u8; 32], Error> {
    bytes.try_into().map_err(|_| damaged(format!("`{field}` has {} bytes instead of 32", bytes.len())))
}

/// Reads a digest.
pub(crate) fn digest(bytes: &[u8]) -> Result<Digest, Error> {
    bytes32(bytes, "digest").map(Digest)
}

/// Maps an enum of core to one of a message and back, variant by variant.
macro_rules! enum_wire {
    ($core:ty, $proto:ty, $($variant:ident),+) => {
        impl crate::convert::Wire<$core> for i32 {
            fn wire(value: &$core) -> Self {
                match value {
                    $(<$core>::$variant => <$proto>::$variant as i32,)+
                }
            }

            fn core(self) -> Result<$core, berth_core::error::Error> {
                match <$proto>::try_from(self) {
                    $(Ok(<$proto>::$variant) => Ok(<$core>::$variant),)+
                    _ => Err(crate::convert::damaged(format!("{self} is no {}", stringify!($proto)))),
                }
            }
        }
    };
}

pub(crate) use enum_wire;

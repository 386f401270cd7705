//! How a gRPC message is packed, where the mesh reads one itself.

/// How to read a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// As it is.
    None,
    /// As gzip has it.
    Gzip,
    /// As zlib has it.
    Deflate,
}

/// Why a message is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// It is packed in a way that is not known here; [`ACCEPTED`] are.
    Packed,
    /// It is no message.
    Broken,
}

/// What a caller is told that may be used.
pub const ACCEPTED: &str = "identity,deflate,gzip";

/// Tells how a message is packed: by the byte in front of it, and by what its call names for those that are.
pub fn packing(flag: u8, named: Option<&[u8]>) -> Result<Packing, Unread> {
    match (flag, named) {
        (0, _) => Ok(Packing::None),
        (1, Some(b"gzip")) => Ok(Packing::Gzip),
        (1, Some(b"deflate")) => Ok(Packing::Deflate),
        // A call that names nothing packs nothing.
        (1, Some(b"identity") | None) | (2.., _) => Err(Unread::Broken),
        (1, Some(_)) => Err(Unread::Packed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_decides_and_the_name_says_how() {
        for (flag, named, expected) in [
            (0, None, Ok(Packing::None)),
            (0, Some(&b"gzip"[..]), Ok(Packing::None)),
            (0, Some(b"zstd"), Ok(Packing::None)),
            (1, Some(b"gzip"), Ok(Packing::Gzip)),
            (1, Some(b"deflate"), Ok(Packing::Deflate)),
            (1, Some(b"zstd"), Err(Unread::Packed)),
            (1, Some(b"GZIP"), Err(Unread::Packed)),
            (1, Some(b""), Err(Unread::Packed)),
            (1, Some(b"identity"), Err(Unread::Broken)),
            (1, None, Err(Unread::Broken)),
            (2, Some(b"gzip"), Err(Unread::Broken)),
        ] {
            assert_eq!(packing(flag, named), expected, "{flag} {named:?}");
        }
    }
}

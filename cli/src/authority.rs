//! The file of the coordinators' authority, for a node that was told its hash alone.

use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use berth_core::{
    address,
    error::{Code, Error},
    join::CaHash,
};
use berth_proto::tls::{self, TrustFiles};

/// How long one coordinator may take to hand it out.
const ASK: Duration = Duration::from_secs(10);

/// Asks coordinators for their authority, one after another, unless its file is there. One whose authority is another ends it:
/// the next may be the same stranger.
pub(crate) async fn asked_for(hash: &CaHash, files: &TrustFiles, coordinators: &[String]) -> Result<(), Error> {
    let failed = |error: &io::Error, what: &str| {
        Error::new(Code::Certificate, format!("`{}` cannot be {what}", files.ca.display())).why(error.to_string())
    };
    match fs::read_to_string(&files.ca) {
        Ok(there) if hash.keeps(&there) => return Ok(()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&error, "read")),
        _ => {}
    }
    let mut last = Error::new(Code::Invalid, "no coordinator is called over TLS");
    for coordinator in coordinators.iter().filter(|one| address::is_tls(one)) {
        let authority = address::authority(coordinator);
        match tls::ask_authority(authority, files.own.as_ref(), hash, ASK).await {
            Ok(certificates) => {
                let text = format!("{}{certificates}", hash.mark());
                write(&files.ca, &text).map_err(|error| failed(&error, "written"))?;
                tracing::info!(from = authority, file = %files.ca.display(), "the authority fits its hash");
                return Ok(());
            }
            Err(error) if error.code == Code::Tls => return Err(error),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Writes it whole or not at all: what is there is believed.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().map(Path::to_owned).filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| PathBuf::from("."));
    fs::create_dir_all(&folder)?;
    let mut file = tempfile::NamedTempFile::new_in(&folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

//! Where this copy of the library lies, and the script beside it.

#![expect(unsafe_code, reason = "only the loader knows which file this code came from")]

use std::{
    ffi::{CStr, OsStr, c_char, c_int, c_void},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::OnceLock,
    thread,
    time::Duration,
};

use crate::script::Script;

/// The script's name.
const SCRIPT: &str = "gpus.ini";
/// How often a call that hangs looks whether it still shall.
const HANG_STEP: Duration = Duration::from_millis(5);

/// What the loader tells of an address.
#[repr(C)]
struct DlInfo {
    file: *const c_char,
    base: *mut c_void,
    symbol: *const c_char,
    address: *mut c_void,
}

unsafe extern "C" {
    fn dladdr(address: *const c_void, info: *mut DlInfo) -> c_int;
}

/// Returns the script as it is now, or nothing where there is none or it cannot be understood. Blocks as long as the
/// script says that calls hang.
pub(crate) fn script() -> Option<Script> {
    loop {
        let text = std::fs::read_to_string(folder()?.join(SCRIPT)).ok()?;
        let script = Script::parse(&text).ok()?;
        if !script.driver.hang {
            return Some(script);
        }
        thread::sleep(HANG_STEP);
    }
}

/// Returns the folder this copy was loaded from.
fn folder() -> Option<&'static Path> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOLDER.get_or_init(|| loaded_from()?.parent().map(Path::to_owned)).as_deref()
}

fn loaded_from() -> Option<PathBuf> {
    let mut info = DlInfo {
        file: std::ptr::null(),
        base: std::ptr::null_mut(),
        symbol: std::ptr::null(),
        address: std::ptr::null_mut(),
    };
    // SAFETY: the address is that of a function of this very library, and `info` outlives the call.
    let found = unsafe { dladdr(script as *const c_void, &raw mut info) };
    if found == 0 || info.file.is_null() {
        return None;
    }
    // SAFETY: the loader answered with a string that lives as long as the library is loaded.
    let file = unsafe { CStr::from_ptr(info.file) };
    std::fs::canonicalize(Path::new(OsStr::from_bytes(file.to_bytes()))).ok()
}

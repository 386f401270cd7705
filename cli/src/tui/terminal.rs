//! The terminal itself: keys, the editor, the clipboard.

use std::{
    io::{self, Read as _, Write as _},
    pin::Pin,
};

use futures::{Stream, StreamExt};
use ratatui::crossterm::{
    clipboard::CopyToClipboard,
    event::{Event, EventStream},
    execute,
    terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
};

use super::{Msg, World};

/// The largest text that is taken back from an editor.
const EDITED_BYTES_MAX: u64 = 1 << 20;

/// The terminal this process was started in.
pub(super) struct Real;

// === impl Real ===

impl World for Real {
    type Keys = Pin<Box<dyn Stream<Item = Msg> + Send>>;

    fn keys(&mut self) -> Self::Keys {
        Box::pin(EventStream::new().filter_map(async |event| match event {
            Ok(Event::Key(key)) if key.is_press() => Some(Msg::Key(key)),
            Ok(Event::Resize(..)) => Some(Msg::Resized),
            _ => None,
        }))
    }

    async fn edit(&mut self, text: &str) -> io::Result<String> {
        let mut file = tempfile::Builder::new().prefix("berth-").suffix(".yaml").tempfile()?;
        file.write_all(text.as_bytes())?;
        file.flush()?;
        execute!(io::stdout(), LeaveAlternateScreen)?;
        disable_raw_mode()?;
        // The variable may hold arguments, so a shell reads it, as git does.
        let editor = ["VISUAL", "EDITOR"].iter().find_map(|name| std::env::var(name).ok().filter(|it| !it.is_empty()));
        let command = format!("{} \"$1\"", editor.as_deref().unwrap_or("vi"));
        let ended = tokio::process::Command::new("sh").args(["-c", &command, "sh"]).arg(file.path()).status().await;
        enable_raw_mode()?;
        execute!(io::stdout(), EnterAlternateScreen)?;
        let status = ended?;
        if !status.success() {
            return Err(io::Error::other(format!("it ended with {status}")));
        }
        // Editors replace the file rather than write into it.
        let mut edited = String::new();
        std::fs::File::open(file.path())?.take(EDITED_BYTES_MAX).read_to_string(&mut edited)?;
        Ok(edited)
    }

    /// Works through ssh as well (OSC 52).
    fn copy(&mut self, text: &str) {
        // A terminal that knows no clipboard ignores it.
        let _ = execute!(io::stdout(), CopyToClipboard::to_clipboard_from(text));
    }
}

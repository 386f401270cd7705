//! The terminal itself: keys, the editor, the clipboard.

use std::{
    io::{self, Read as _, Write as _},
    pin::Pin,
};

use futures::{Stream, StreamExt};
use ratatui::crossterm::{
    clipboard::CopyToClipboard,
    event::{DisableMouseCapture, EnableMouseCapture, Event, EventStream},
    execute,
    terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
};

use super::{Msg, World};

/// The largest text that is taken back from an editor.
const EDITED_BYTES_MAX: u64 = 1 << 20;

/// The terminal this process was started in.
pub(super) struct Real {
    /// Whether the terminal tells what the mouse does; its own selection of text needs a modifier meanwhile.
    mouse: bool,
}

// === impl Real ===

impl Real {
    pub(super) fn new(mouse: bool) -> Self {
        let real = Self { mouse };
        real.take_mouse(true);
        real
    }

    fn take_mouse(&self, is_taken: bool) {
        if !self.mouse {
            return;
        }
        // A terminal without a mouse ignores it.
        let _ = if is_taken {
            execute!(io::stdout(), EnableMouseCapture)
        } else {
            execute!(io::stdout(), DisableMouseCapture)
        };
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        self.take_mouse(false);
    }
}

impl World for Real {
    type Keys = Pin<Box<dyn Stream<Item = Msg> + Send>>;

    fn keys(&mut self) -> Self::Keys {
        Box::pin(EventStream::new().filter_map(async |event| match event {
            Ok(Event::Key(key)) if key.is_press() => Some(Msg::Key(key)),
            Ok(Event::Mouse(event)) => Some(Msg::Mouse(event)),
            Ok(Event::Resize(..)) => Some(Msg::Resized),
            _ => None,
        }))
    }

    async fn edit(&mut self, text: &str) -> io::Result<String> {
        let mut file = tempfile::Builder::new().prefix("berth-").suffix(".yaml").tempfile()?;
        file.write_all(text.as_bytes())?;
        file.flush()?;
        self.take_mouse(false);
        execute!(io::stdout(), LeaveAlternateScreen)?;
        disable_raw_mode()?;
        // The variable may hold arguments, so a shell reads it, as git does.
        let editor = ["VISUAL", "EDITOR"].iter().find_map(|name| std::env::var(name).ok().filter(|it| !it.is_empty()));
        let command = format!("{} \"$1\"", editor.as_deref().unwrap_or("vi"));
        let ended = tokio::process::Command::new("sh").args(["-c", &command, "sh"]).arg(file.path()).status().await;
        enable_raw_mode()?;
        execute!(io::stdout(), EnterAlternateScreen)?;
        self.take_mouse(true);
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

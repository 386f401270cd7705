//! The terminal itself: keys, the editor, the clipboard.

use std::{io, pin::Pin};

use futures::{Stream, StreamExt};
use ratatui::crossterm::{
    clipboard::CopyToClipboard,
    event::{DisableMouseCapture, EnableMouseCapture, Event, EventStream},
    execute,
    terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
};

use super::{Msg, World};
use crate::editor;

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
        let file = editor::written(text)?;
        self.take_mouse(false);
        execute!(io::stdout(), LeaveAlternateScreen)?;
        disable_raw_mode()?;
        let edited = editor::edited(file).await;
        enable_raw_mode()?;
        execute!(io::stdout(), EnterAlternateScreen)?;
        self.take_mouse(true);
        Ok(edited?.text)
    }

    /// Works through ssh as well (OSC 52).
    fn copy(&mut self, text: &str) {
        // A terminal that knows no clipboard ignores it.
        let _ = execute!(io::stdout(), CopyToClipboard::to_clipboard_from(text));
    }
}

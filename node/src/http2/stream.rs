//! One stream: what has come on it and was not read, what it may send, and who waits for either.

use std::{
    collections::VecDeque,
    task::{Context, Waker},
};

use bytes::BytesMut;
use http::{HeaderMap, Response};
use tokio::sync::OwnedSemaphorePermit;

use super::Error;

/// What is in a piece of received data that still grows: a sender of single bytes does not make a piece of each.
const GROWS_TO: usize = 4 << 10;

/// One stream.
pub(super) struct Stream {
    pub(super) id: u32,
    /// Of those that may end it: nobody else wants anything of it.
    pub(super) handles: u8,
    pub(super) is_open: bool,
    pub(super) is_seen: bool,
    pub(super) is_waiting: bool,
    pub(super) is_head: bool,
    pub(super) reader_is_gone: bool,
    pub(super) recv_ended: bool,
    pub(super) send_ended: bool,
    pub(super) reset: Option<Error>,
    /// The answer, until it is taken.
    pub(super) answer: Option<Response<()>>,
    pub(super) has_answer: bool,
    pub(super) first: Option<BytesMut>,
    pub(super) more: VecDeque<BytesMut>,
    pub(super) trailers: Option<Box<HeaderMap>>,
    /// What the head says is still to come.
    pub(super) left: Option<u64>,
    pub(super) recv_window: i64,
    pub(super) unreported: u32,
    pub(super) send_window: i64,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
    pub(super) place: Option<OwnedSemaphorePermit>,
}

/// Remembers who is to be woken.
pub(super) fn remember(waker: &mut Option<Waker>, cx: &Context<'_>) {
    if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
        *waker = Some(cx.waker().clone());
    }
}

pub(super) fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

// === impl Stream ===

impl Stream {
    pub(super) fn new(id: u32, recv_window: u32, send_window: u32) -> Self {
        Self {
            id,
            // Who reads, and who writes.
            handles: 2,
            is_open: true,
            is_seen: false,
            is_waiting: false,
            is_head: false,
            reader_is_gone: false,
            recv_ended: false,
            send_ended: false,
            reset: None,
            answer: None,
            has_answer: false,
            first: None,
            more: VecDeque::new(),
            trailers: None,
            left: None,
            recv_window: recv_window.into(),
            unreported: 0,
            send_window: send_window.into(),
            reader: None,
            writer: None,
            place: None,
        }
    }

    /// Returns whether so much data agrees with what the head says.
    pub(super) fn takes(&mut self, bytes: u64, is_end: bool) -> bool {
        let Some(left) = self.left else { return true };
        let Some(left) = left.checked_sub(bytes) else { return false };
        self.left = Some(left);
        !is_end || left == 0
    }

    pub(super) fn push(&mut self, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        let last = self.more.back_mut().or(self.first.as_mut());
        match last {
            Some(last) if last.len() + data.len() <= GROWS_TO => last.extend_from_slice(data),
            Some(_) => self.more.push_back(data.into()),
            None => self.first = Some(data.into()),
        }
    }

    pub(super) fn has_data(&self) -> bool {
        self.first.is_some()
    }

    pub(super) fn take_trailers(&mut self) -> Option<HeaderMap> {
        self.trailers.take().map(|trailers| *trailers)
    }

    pub(super) fn has_trailers(&self) -> bool {
        self.trailers.is_some()
    }
}

//! What comes on a connection, and what is read of it.

use std::task::Context;

use bytes::Bytes;
use http::{HeaderMap, Response};

use super::{ALIVE, Fault, GOODBYE, Goodbye, ID_MAX, Ping, Role, STREAMS_MAX, State, WINDOW_MAX};
use crate::http2::{
    By, Error, Reason,
    frame::{ACK, FRAME_BYTES, SETTINGS, frame, ping, window_update},
    stream::{Stream, remember, wake},
};

impl State {
    pub(in crate::http2) fn settings(&mut self, payload: &[u8]) -> Result<(), Fault> {
        let fault = |reason| Err(Fault::Connection(reason));
        let (told, []) = payload.as_chunks::<6>() else { return fault(Reason::FRAME_SIZE_ERROR) };
        let mut window = self.peer_window;
        // Who does not say how many streams it takes, takes any number.
        let mut streams = (!std::mem::replace(&mut self.is_introduced, true)).then_some(STREAMS_MAX);
        for [name_high, name_low, value @ ..] in told {
            let value = u32::from_be_bytes(*value);
            match u16::from_be_bytes([*name_high, *name_low]) {
                1 => self.encoder.resize(value as usize),
                2 if value > 1 => return fault(Reason::PROTOCOL_ERROR),
                3 => streams = Some(value.min(STREAMS_MAX)),
                4 if i64::from(value) > WINDOW_MAX => return fault(Reason::FLOW_CONTROL_ERROR),
                4 => window = value,
                // Larger ones than we send anyway.
                5 if !(FRAME_BYTES as u32..=0xff_ffff).contains(&value) => return fault(Reason::PROTOCOL_ERROR),
                _ => {}
            }
        }
        if let Some(streams) = streams {
            self.allow_streams(streams);
        }
        self.output.answer(|into| frame(into, 0, SETTINGS, ACK, 0));
        self.open_windows(window)
    }

    /// Every stream may be sent as much more as a new one.
    fn open_windows(&mut self, window: u32) -> Result<(), Fault> {
        let more = i64::from(window) - i64::from(self.peer_window);
        self.peer_window = window;
        if more == 0 {
            return Ok(());
        }
        for (_, stream) in self.streams.iter_mut().filter(|(_, stream)| stream.is_open) {
            stream.send_window += more;
            if stream.send_window > WINDOW_MAX {
                return Err(Fault::Connection(Reason::FLOW_CONTROL_ERROR));
            }
            wake(&mut stream.writer);
        }
        Ok(())
    }

    fn allow_streams(&mut self, streams: u32) {
        if streams >= self.places_told {
            let more = streams - self.places_told;
            let paid = more.min(self.places_owed);
            self.places_owed -= paid;
            self.places.add_permits((more - paid) as usize);
        } else {
            let less = (self.places_told - streams) as usize;
            self.places_owed += (less - self.places.forget_permits(less)) as u32;
        }
        self.places_told = streams;
    }

    pub(in crate::http2) fn pinged(&mut self, is_answer: bool, payload: &[u8]) -> Result<(), Fault> {
        let Ok(word) = <[u8; 8]>::try_from(payload) else { return Err(Fault::Connection(Reason::FRAME_SIZE_ERROR)) };
        match (is_answer, word) {
            (false, word) => self.output.answer(|into| ping(into, ACK, word)),
            (true, GOODBYE) if self.goodbye == Goodbye::Said => self.goodbye = Goodbye::Heard,
            (true, ALIVE) => {
                if let Some(ping) = &mut self.ping {
                    ping.is_answered = true;
                    wake(&mut ping.waker);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Asks whether the peer is there.
    pub(in crate::http2) fn send_ping(&mut self) {
        self.ping = Some(Ping::default());
        self.output.write(|into| ping(into, 0, ALIVE));
        self.call_driver();
    }

    pub(in crate::http2) fn poll_ping(&mut self, cx: &Context<'_>) -> Option<Result<(), Error>> {
        let ping = self.ping.as_mut()?;
        if ping.is_answered {
            return Some(Ok(()));
        }
        remember(&mut ping.waker, cx);
        self.ended.map(Err)
    }

    /// The peer goes away: streams it did not look at are told so.
    pub(in crate::http2) fn peer_leaves(&mut self, payload: &[u8]) -> Result<(), Fault> {
        let Some((head, _)) = payload.split_first_chunk::<8>() else {
            return Err(Fault::Connection(Reason::FRAME_SIZE_ERROR));
        };
        let [a, b, c, d, reason @ ..] = *head;
        let last = u32::from_be_bytes([a, b, c, d]) & ID_MAX;
        let reason = Reason(u32::from_be_bytes(reason));
        self.is_leaving = true;
        self.places.close();
        if self.role == Role::Client {
            let unseen: Vec<usize> = self.ids.iter().filter(|(id, _)| **id > last).map(|(_, key)| *key).collect();
            for key in unseen {
                self.close(key, Some(Error::Away(reason, By::Peer)));
            }
        }
        Ok(())
    }

    pub(in crate::http2) fn window_update(&mut self, id: u32, payload: &[u8]) -> Result<(), Fault> {
        let Ok(more) = <[u8; 4]>::try_from(payload) else { return Err(Fault::Connection(Reason::FRAME_SIZE_ERROR)) };
        let more = i64::from(u32::from_be_bytes(more) & ID_MAX);
        if id == 0 {
            self.send_window += more;
            if more == 0 || self.send_window > WINDOW_MAX {
                let is_zero = more == 0;
                let reason = if is_zero { Reason::PROTOCOL_ERROR } else { Reason::FLOW_CONTROL_ERROR };
                return Err(Fault::Connection(reason));
            }
            // Who waits for it is woken at the end of the turn.
            return Ok(());
        }
        let Some(key) = self.find(id)? else { return Ok(()) };
        let stream = &mut self.streams[key];
        stream.send_window += more;
        if more == 0 {
            return Err(Fault::Stream(id, Reason::PROTOCOL_ERROR));
        }
        if stream.send_window > WINDOW_MAX {
            return Err(Fault::Stream(id, Reason::FLOW_CONTROL_ERROR));
        }
        wake(&mut stream.writer);
        Ok(())
    }

    pub(in crate::http2) fn was_reset(&mut self, id: u32, payload: &[u8]) -> Result<(), Fault> {
        let Ok(reason) = <[u8; 4]>::try_from(payload) else { return Err(Fault::Connection(Reason::FRAME_SIZE_ERROR)) };
        let Some(key) = self.find(id)? else {
            self.came_late(id, None);
            return Ok(());
        };
        let is_unseen = self.role == Role::Server && !self.streams[key].is_seen;
        self.close(key, Some(Error::Reset(Reason(u32::from_be_bytes(reason)), By::Peer)));
        if is_unseen {
            self.unseen_resets += 1;
            if self.unseen_resets > self.settings.unseen_resets {
                return Err(Fault::Connection(Reason::ENHANCE_YOUR_CALM));
            }
        }
        Ok(())
    }

    /// Takes the payload of a DATA frame, which came with so many bytes in all.
    pub(in crate::http2) fn data(&mut self, id: u32, bytes: usize, data: &[u8], is_end: bool) -> Result<(), Fault> {
        self.recv_window -= bytes as i64;
        if self.recv_window < 0 {
            return Err(Fault::Connection(Reason::FLOW_CONTROL_ERROR));
        }
        let Some(key) = self.find(id)? else {
            // Of a stream that we have ended: it was under way.
            self.report(bytes);
            self.came_late(id, (!is_end).then_some(bytes));
            return Ok(());
        };
        let stream = &mut self.streams[key];
        stream.recv_window -= bytes as i64;
        let fault = if stream.recv_ended {
            Some(Reason::STREAM_CLOSED)
        } else if stream.recv_window < 0 {
            Some(Reason::FLOW_CONTROL_ERROR)
        } else if self.role == Role::Client && !stream.has_answer || !stream.takes(data.len() as u64, is_end) {
            Some(Reason::PROTOCOL_ERROR)
        } else {
            None
        };
        if let Some(reason) = fault {
            self.report(bytes);
            return Err(Fault::Stream(id, reason));
        }
        let kept = match stream.reader_is_gone {
            true => 0,
            false => {
                stream.push(data);
                // What filled it up is read by nobody.
                stream.unreported += (bytes - data.len()) as u32;
                data.len()
            }
        };
        if is_end {
            stream.recv_ended = true;
        }
        wake(&mut stream.reader);
        self.report(bytes - kept);
        match is_end {
            true => self.close_if_over(key),
            false => self.open_stream(key),
        }
        Ok(())
    }

    /// Lets a stream bring as much again as was taken of it.
    fn open_stream(&mut self, key: usize) {
        let stream = &mut self.streams[key];
        if !stream.recv_ended && stream.is_open && stream.unreported >= self.settings.stream_window / 2 {
            let more = std::mem::take(&mut stream.unreported);
            stream.recv_window += i64::from(more);
            let id = stream.id;
            self.output.write(|into| window_update(into, id, more));
            self.call_driver();
        }
    }

    /// Gives room of the connection back.
    pub(super) fn report(&mut self, bytes: usize) {
        self.unreported += bytes as u32;
        if self.unreported >= self.settings.window / 2 {
            let more = std::mem::take(&mut self.unreported);
            self.recv_window += i64::from(more);
            self.output.write(|into| window_update(into, 0, more));
            self.call_driver();
        }
    }

    /// Finds a stream. Nothing if it is over; an error if there never was one.
    pub(in crate::http2) fn find(&self, id: u32) -> Result<Option<usize>, Fault> {
        if let Some(key) = self.ids.get(&id) {
            return Ok(Some(*key));
        }
        let was_ours = id % 2 == 1 && id < self.next_id;
        let was_theirs = id % 2 == 1 && (id <= self.last_id || self.goodbye == Goodbye::Final);
        match self.role {
            Role::Client if was_ours => Ok(None),
            Role::Server if was_theirs => Ok(None),
            _ => Err(Fault::Connection(Reason::PROTOCOL_ERROR)),
        }
    }

    /// Of a server: whether this is the head of a request. An error if it never can be.
    pub(in crate::http2) fn is_request(&mut self, id: u32) -> Result<bool, Fault> {
        if id.is_multiple_of(2) {
            return Err(Fault::Connection(Reason::PROTOCOL_ERROR));
        }
        if id <= self.last_id || self.goodbye == Goodbye::Final {
            return Ok(false);
        }
        self.last_id = id;
        Ok(true)
    }

    /// Opens a stream for a request that has come; nothing if there are too many.
    pub(in crate::http2) fn accept(&mut self, id: u32, length: Option<u64>, is_end: bool) -> Option<usize> {
        if self.ids.len() >= self.settings.streams as usize {
            return None;
        }
        let mut stream = Stream::new(id, self.settings.stream_window, self.peer_window);
        stream.left = length;
        stream.recv_ended = is_end;
        Some(self.insert(stream))
    }

    /// Of a client: takes the head of an answer.
    pub(in crate::http2) fn answered(
        &mut self,
        key: usize,
        answer: Response<()>,
        length: Option<u64>,
        is_end: bool,
    ) -> Result<(), Fault> {
        let stream = &mut self.streams[key];
        let status = answer.status().as_u16();
        if status < 200 {
            // Others may follow; who sends this one as the last, or changes the protocol, speaks another one.
            return match is_end || status == 101 {
                true => Err(Fault::Stream(stream.id, Reason::PROTOCOL_ERROR)),
                false => Ok(()),
            };
        }
        let has_body = !stream.is_head && status != 304 && status != 204;
        stream.left = if has_body { length } else { Some(0) };
        if is_end && !stream.takes(0, true) {
            return Err(Fault::Stream(stream.id, Reason::PROTOCOL_ERROR));
        }
        stream.has_answer = true;
        stream.answer = Some(answer);
        stream.recv_ended = is_end;
        wake(&mut stream.reader);
        if is_end {
            self.close_if_over(key);
        }
        Ok(())
    }

    pub(in crate::http2) fn has_answer(&self, key: usize) -> bool {
        self.streams[key].has_answer
    }

    /// Takes what follows a body.
    pub(in crate::http2) fn trailers(&mut self, key: usize, trailers: HeaderMap) -> Result<(), Fault> {
        let stream = &mut self.streams[key];
        if stream.recv_ended {
            return Err(Fault::Stream(stream.id, Reason::STREAM_CLOSED));
        }
        if !stream.takes(0, true) {
            return Err(Fault::Stream(stream.id, Reason::PROTOCOL_ERROR));
        }
        stream.trailers = Some(Box::new(trailers));
        stream.recv_ended = true;
        wake(&mut stream.reader);
        self.close_if_over(key);
        Ok(())
    }

    /// Somebody looks at a stream, for the first time or again.
    pub(in crate::http2) fn see(&mut self, key: usize) {
        let stream = &mut self.streams[key];
        let was_seen = std::mem::replace(&mut stream.is_seen, true);
        if self.role == Role::Server && !was_seen && matches!(stream.reset, Some(Error::Reset(_, By::Peer))) {
            self.unseen_resets -= 1;
        }
    }

    pub(in crate::http2) fn stream(&mut self, key: usize) -> &mut Stream {
        &mut self.streams[key]
    }

    /// Takes data that has come, and makes room for more.
    pub(in crate::http2) fn read(&mut self, key: usize) -> Option<Bytes> {
        let stream = &mut self.streams[key];
        let data = stream.first.take()?;
        stream.first = stream.more.pop_front();
        stream.unreported += data.len() as u32;
        self.open_stream(key);
        self.report(data.len());
        Some(data.freeze())
    }

    pub(in crate::http2) fn wait_to_read(&mut self, key: usize, cx: &Context<'_>) {
        remember(&mut self.streams[key].reader, cx);
    }
}

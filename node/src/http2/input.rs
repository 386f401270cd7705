//! Frames as they come, and what they do.

use http::Request;

use super::{
    Protocol, Reason, Receiver, Sender,
    decode::Decoder,
    frame::{
        ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, FRAME_BYTES, GOAWAY, HEAD_BYTES, HEADERS, PADDED, PING,
        PRIORITIES, PRIORITY, PRIORITY_BYTES, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE,
    },
    handle,
    head::Head,
    state::{Fault, Role, Shared},
};

/// Frames a head may be cut into: each costs more to read than to send.
const HEAD_FRAMES: u32 = 32;

/// A request that has come, with its stream.
pub(crate) type Come = (Request<()>, Receiver, Sender);

/// Reads the frames of one connection.
#[derive(Default)]
pub(super) struct Input {
    decoder: Decoder,
    /// A head whose rest is in the frames that have to follow.
    block: Option<Block>,
    is_introduced: bool,
}

struct Block {
    id: u32,
    is_end: bool,
    bytes: Vec<u8>,
    frames: u32,
}

struct Frame<'a> {
    kind: u8,
    flags: u8,
    id: u32,
    payload: &'a [u8],
}

// === impl Input ===

impl Input {
    /// Reads the next frame of these bytes, if all of it is there. Returns how many bytes it took, and a request, if one came.
    pub(super) fn next(&mut self, bytes: &[u8], state: &Shared) -> Result<Option<(usize, Option<Come>)>, Reason> {
        let Some((head, rest)) = bytes.split_first_chunk::<HEAD_BYTES>() else { return Ok(None) };
        let [high, middle, low, kind, flags, id @ ..] = *head;
        let length = u32::from_be_bytes([0, high, middle, low]) as usize;
        if length > FRAME_BYTES {
            return Err(Reason::FRAME_SIZE_ERROR);
        }
        let Some(payload) = rest.get(..length) else { return Ok(None) };
        let id = u32::from_be_bytes(id) & 0x7fff_ffff;
        let come = match self.frame(&Frame { kind, flags, id, payload }, state) {
            Ok(come) => come,
            Err(Fault::Connection(reason)) => return Err(reason),
            Err(Fault::Stream(id, reason)) => match state.borrow_mut().fault(id, reason) {
                Ok(()) => None,
                Err(Fault::Connection(reason) | Fault::Stream(_, reason)) => return Err(reason),
            },
        };
        Ok(Some((HEAD_BYTES + length, come)))
    }

    fn frame(&mut self, frame: &Frame<'_>, state: &Shared) -> Result<Option<Come>, Fault> {
        let fault = |reason| Err(Fault::Connection(reason));
        let Frame { kind, flags, id, payload } = *frame;
        // Nothing may come between the parts of a head, and nothing before the peer has introduced itself.
        if self.block.is_some() != (kind == CONTINUATION) || !self.is_introduced && kind != SETTINGS {
            return fault(Reason::PROTOCOL_ERROR);
        }
        if matches!(kind, DATA | HEADERS | PRIORITIES | RST_STREAM | CONTINUATION) && id == 0
            || matches!(kind, SETTINGS | PING | GOAWAY) && id != 0
        {
            return fault(Reason::PROTOCOL_ERROR);
        }
        match kind {
            DATA => {
                let data = unpadded(flags, payload)?;
                state.borrow_mut().data(id, payload.len(), data, flags & END_STREAM != 0)?;
            }
            HEADERS => {
                let mut part = unpadded(flags, payload)?;
                if flags & PRIORITY != 0 {
                    part = part.get(PRIORITY_BYTES..).ok_or(Fault::Connection(Reason::FRAME_SIZE_ERROR))?;
                }
                let is_end = flags & END_STREAM != 0;
                if flags & END_HEADERS != 0 {
                    return self.head(id, is_end, part, state);
                }
                self.block = Some(Block { id, is_end, bytes: part.to_vec(), frames: 1 });
            }
            CONTINUATION => {
                let Some(mut block) = self.block.take().filter(|block| block.id == id) else {
                    return fault(Reason::PROTOCOL_ERROR);
                };
                block.bytes.extend_from_slice(payload);
                block.frames += 1;
                let most = state.borrow().settings.head_bytes as usize;
                if block.frames > HEAD_FRAMES || block.bytes.len() > most + FRAME_BYTES {
                    return fault(Reason::ENHANCE_YOUR_CALM);
                }
                if flags & END_HEADERS != 0 {
                    return self.head(id, block.is_end, &block.bytes, state);
                }
                self.block = Some(block);
            }
            RST_STREAM => state.borrow_mut().was_reset(id, payload)?,
            SETTINGS if flags & ACK != 0 => {
                if !payload.is_empty() {
                    return fault(Reason::FRAME_SIZE_ERROR);
                }
                if !self.is_introduced {
                    return fault(Reason::PROTOCOL_ERROR);
                }
            }
            SETTINGS => {
                self.is_introduced = true;
                state.borrow_mut().settings(payload)?;
            }
            PING => state.borrow_mut().pinged(flags & ACK != 0, payload)?,
            GOAWAY => state.borrow_mut().peer_leaves(payload)?,
            WINDOW_UPDATE => state.borrow_mut().window_update(id, payload)?,
            // Nobody asked for it, or may.
            PUSH_PROMISE => return fault(Reason::PROTOCOL_ERROR),
            // It may be about a stream that never was, of which nothing can be said.
            PRIORITIES if payload.len() != PRIORITY_BYTES => return fault(Reason::FRAME_SIZE_ERROR),
            // Priorities, and what nobody here knows (RFC 9113 §5.5).
            _ => {}
        }
        Ok(None)
    }

    /// Takes a whole head.
    fn head(&mut self, id: u32, is_end: bool, block: &[u8], state: &Shared) -> Result<Option<Come>, Fault> {
        let (role, room) = {
            let state = state.borrow();
            (state.role, state.settings.head_bytes as usize)
        };
        let mut head = Head::new(room);
        // In any case: the next heads are told by what this one left in the table.
        self.decoder.decode(block, &mut head).map_err(|_| Fault::Connection(Reason::COMPRESSION_ERROR))?;
        let mut locked = state.borrow_mut();
        let malformed = Fault::Stream(id, Reason::PROTOCOL_ERROR);
        let key = match locked.find(id) {
            Ok(key) => key,
            Err(_) if role == Role::Server => None,
            Err(fault) => return Err(fault),
        };
        if let Some(key) = key {
            if role == Role::Client && !locked.has_answer(key) {
                let (answer, length) = head.response().map_err(|_| malformed)?;
                locked.answered(key, answer, length, is_end)?;
            } else {
                let trailers = head.trailers().ok().filter(|_| is_end).ok_or(malformed)?;
                locked.trailers(key, trailers)?;
            }
            return Ok(None);
        }
        // A client's stream that is over, or a server's: what was under way.
        if role == Role::Client || !locked.is_request(id)? {
            if is_end {
                locked.came_late(id, None);
            }
            return Ok(None);
        }
        if head.is_too_large {
            locked.refuse_head(id, is_end);
            return Ok(None);
        }
        let (request, length) = head.request().map_err(|_| malformed)?;
        if request.extensions().get::<Protocol>().is_some() && !locked.settings.connect_protocol {
            return Err(malformed);
        }
        if is_end && length.is_some_and(|length| length > 0) {
            return Err(malformed);
        }
        let Some(key) = locked.accept(id, length, is_end) else {
            locked.refuse(id, Reason::REFUSED_STREAM);
            return Ok(None);
        };
        drop(locked);
        let (recv, send) = handle::halves(state, key);
        Ok(Some((request, recv, send)))
    }
}

/// Takes off what a frame was filled up with.
fn unpadded(flags: u8, payload: &[u8]) -> Result<&[u8], Fault> {
    if flags & PADDED == 0 {
        return Ok(payload);
    }
    let (padding, rest) = payload.split_first().ok_or(Fault::Connection(Reason::FRAME_SIZE_ERROR))?;
    let length = rest.len().checked_sub(usize::from(*padding));
    length.map(|length| &rest[..length]).ok_or(Fault::Connection(Reason::PROTOCOL_ERROR))
}

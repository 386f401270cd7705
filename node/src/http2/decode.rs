//! HPACK, as it is read (RFC 7541).

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::{
    field::{self, FIXED, Field, Name, weight},
    head::Head,
    huffman,
};

/// What a peer may make us remember: what it takes without being told otherwise (RFC 9113 §6.5.2).
const TABLE_BYTES: usize = 4_096;

/// Reads the heads that one side of a connection sends.
#[derive(Default)]
pub(super) struct Decoder {
    /// The newest first.
    table: VecDeque<(Field, usize)>,
    bytes: usize,
    /// How much less than [`TABLE_BYTES`] the peer wants it to be.
    less: usize,
    text: Vec<u8>,
}

/// The block is none. What it said of the table is lost, and the connection with it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// A block that is being read.
struct Block<'a> {
    rest: &'a [u8],
    /// The texts of the block, one after the other in one piece of memory.
    texts: BytesMut,
}

// === impl Decoder ===

impl Decoder {
    /// Reads a whole block.
    pub(super) fn decode(&mut self, bytes: &[u8], head: &mut Head) -> Result<(), Broken> {
        let mut block = Block { rest: bytes, texts: BytesMut::new() };
        let mut may_resize = true;
        while let Some(first) = block.rest.first() {
            match first {
                0x80.. => {
                    let index = block.number(7)?;
                    let (field, bytes) = self.at(index)?;
                    head.take(field, bytes);
                }
                0x40.. => {
                    let name = self.name(&mut block, 6)?;
                    let value = Bytes::copy_from_slice(block.string(&mut self.text)?);
                    let bytes = weight(name.len(), value.len());
                    let field = Field::read(name, value);
                    head.take(field.clone(), bytes);
                    self.insert(field, bytes);
                }
                0x20.. => {
                    let size = block.number(5)?;
                    if !may_resize || size > TABLE_BYTES {
                        return Err(Broken);
                    }
                    self.less = TABLE_BYTES - size;
                    self.shrink_to(size);
                    continue;
                }
                _ => {
                    let is_sensitive = first & 0x10 != 0;
                    let name = self.name(&mut block, 4)?;
                    let value = block.string(&mut self.text)?;
                    let bytes = weight(name.len(), value.len());
                    if head.has_room_for(bytes) {
                        let value = keep(&mut block.texts, value, bytes_hint(block.rest));
                        let mut field = Field::read(name, value);
                        if let Field::Header(_, value) = &mut field {
                            value.set_sensitive(is_sensitive);
                        }
                        head.take(field, bytes);
                    }
                }
            }
            may_resize = false;
        }
        Ok(())
    }

    fn at(&self, index: usize) -> Result<(Field, usize), Broken> {
        if let Some((field, bytes)) = index.checked_sub(FIXED + 1).and_then(|at| self.table.get(at)) {
            return Ok((field.clone(), *bytes));
        }
        // Their texts are short, and what they weigh bounds nothing that matters.
        let field = field::fixed(index).ok_or(Broken)?;
        let bytes = weight(field.name().len(), 0);
        Ok((field, bytes))
    }

    fn name(&mut self, block: &mut Block<'_>, prefix: u32) -> Result<Name, Broken> {
        Ok(match block.number(prefix)? {
            0 => Name::read(block.string(&mut self.text)?),
            index => match index.checked_sub(FIXED + 1) {
                Some(at) => self.table.get(at).ok_or(Broken)?.0.name(),
                None => field::fixed(index).ok_or(Broken)?.name(),
            },
        })
    }

    fn insert(&mut self, field: Field, bytes: usize) {
        let most = TABLE_BYTES - self.less;
        // One that is larger than the table empties it (RFC 7541 §4.4).
        self.shrink_to(most.saturating_sub(bytes));
        if bytes <= most {
            self.bytes += bytes;
            self.table.push_front((field, bytes));
        }
    }

    fn shrink_to(&mut self, most: usize) {
        while self.bytes > most {
            let Some((_, bytes)) = self.table.pop_back() else { break };
            self.bytes -= bytes;
        }
    }
}

// === impl Block ===

impl<'a> Block<'a> {
    /// Reads a number whose first bits share a byte with something else (RFC 7541 §5.1). None is larger than what a block
    /// could hold.
    fn number(&mut self, prefix: u32) -> Result<usize, Broken> {
        const MOST: usize = 1 << 24;
        let mask = (1_usize << prefix) - 1;
        let (first, mut rest) = self.rest.split_first().ok_or(Broken)?;
        let mut number = usize::from(*first) & mask;
        if number == mask {
            let mut shift = 0;
            loop {
                let (byte, after) = rest.split_first().ok_or(Broken)?;
                rest = after;
                number += usize::from(byte & 0x7f) << shift;
                shift += 7;
                if number > MOST || shift > 28 {
                    return Err(Broken);
                }
                if byte & 0x80 == 0 {
                    break;
                }
            }
        }
        self.rest = rest;
        Ok(number)
    }

    fn string<'b>(&mut self, text: &'b mut Vec<u8>) -> Result<&'b [u8], Broken>
    where
        'a: 'b,
    {
        let is_huffman = self.rest.first().ok_or(Broken)? & 0x80 != 0;
        let length = self.number(7)?;
        let (string, rest) = self.rest.split_at_checked(length).ok_or(Broken)?;
        self.rest = rest;
        if !is_huffman {
            return Ok(string);
        }
        text.clear();
        huffman::decode(string, text).ok_or(Broken)?;
        Ok(text)
    }
}

/// What the texts of the rest of a block may take: no byte of it becomes more than one and three fifths.
fn bytes_hint(rest: &[u8]) -> usize {
    rest.len() + rest.len() / 2 + rest.len() / 8
}

/// Keeps a text beside those of the same block.
fn keep(texts: &mut BytesMut, text: &[u8], rest: usize) -> Bytes {
    if texts.capacity() < text.len() {
        *texts = BytesMut::with_capacity(text.len() + rest);
    }
    texts.extend_from_slice(text);
    texts.split().freeze()
}

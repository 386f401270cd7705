//! Answers of the Open Inference Protocol, as JSON with or without bytes behind it, and as protobuf.
//!
//! Four dialects of the protobuf are in use under one name. The fields of an answer to `ModelInfer` are the same in all of
//! them, and nothing else is read: the model's name and version, ids and parameters are not what a model answers.

use serde_json::Value;

use super::tensor::{Data, Tensor};

/// Bytes before each message of gRPC: whether it is compressed, and its length.
const GRPC_PREFIX: usize = 5;

/// Tensors of one answer that are read.
const TENSORS_MAX: usize = 4_096;

/// One field of a message.
enum Field<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    Fixed32([u8; 4]),
    Fixed64([u8; 8]),
}

/// Reads the outputs of a JSON answer; `raw` is what follows the JSON.
pub(super) fn of_json<'a>(answer: &'a Value, raw: &'a [u8]) -> Option<Vec<Tensor<'a>>> {
    let mut rest = raw;
    let outputs = answer.get("outputs")?.as_array()?;
    let read = |output: &'a Value| {
        let size = output.get("parameters").and_then(|parameters| parameters.get("binary_data_size"));
        let data = match size {
            Some(size) => {
                let (data, after) = rest.split_at_checked(usize::try_from(size.as_u64()?).ok()?)?;
                rest = after;
                Data::Raw(data)
            }
            None => output.get("data").map_or(Data::None, Data::Json),
        };
        Some(Tensor {
            name: output.get("name")?.as_str()?,
            datatype: output.get("datatype")?.as_str()?,
            shape: output.get("shape")?.as_array()?.iter().map(Value::as_i64).collect::<Option<_>>()?,
            data,
        })
    };
    outputs.iter().take(TENSORS_MAX).map(read).collect()
}

/// Splits a body of gRPC into messages; nothing when one is compressed or cut.
pub(super) fn messages(mut body: &[u8]) -> Option<Vec<&[u8]>> {
    let mut messages = Vec::new();
    while let Some((prefix, rest)) = body.split_first_chunk::<GRPC_PREFIX>() {
        let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
        if prefix[0] != 0 {
            return None;
        }
        let (message, rest) = rest.split_at_checked(length)?;
        messages.push(message);
        body = rest;
    }
    body.is_empty().then_some(messages)
}

/// Reads the outputs of a `ModelInferResponse`, and elements in typed fields where these are to be.
pub(super) fn of_message(message: &[u8], typed: bool) -> Option<Vec<Tensor<'_>>> {
    let mut tensors = Vec::new();
    let mut raws = Vec::new();
    fields(message, |number, field| {
        match (number, field) {
            (5, Field::Bytes(output)) if tensors.len() < TENSORS_MAX => tensors.push(tensor(output, typed)?),
            (6, Field::Bytes(raw)) if raws.len() < TENSORS_MAX => raws.push(raw),
            _ => {}
        }
        Some(())
    })?;
    for (tensor, raw) in tensors.iter_mut().zip(raws) {
        tensor.data = Data::Raw(raw);
    }
    Some(tensors)
}

/// Reads the outputs of one message of `ModelStreamInfer`: Triton wraps the answer in field 2, Seldon does not.
pub(super) fn of_stream_message(message: &[u8], typed: bool) -> Option<Vec<Tensor<'_>>> {
    let mut wrapped = None;
    fields(message, |number, field| {
        if let (2, Field::Bytes(inner)) = (number, field) {
            wrapped = of_message(inner, typed).filter(|tensors| !tensors.is_empty());
        }
        Some(())
    })?;
    wrapped.or_else(|| of_message(message, typed)).filter(|tensors| !tensors.is_empty())
}

fn tensor(message: &[u8], typed: bool) -> Option<Tensor<'_>> {
    let mut tensor = Tensor::default();
    fields(message, |number, field| {
        match (number, field) {
            (1, Field::Bytes(name)) => tensor.name = str::from_utf8(name).ok()?,
            (2, Field::Bytes(datatype)) => tensor.datatype = str::from_utf8(datatype).ok()?,
            (3, Field::Varint(size)) => tensor.shape.push(size.cast_signed()),
            (3, Field::Bytes(packed)) => {
                varints(packed, |size| tensor.shape.push(size.cast_signed()))?;
            }
            (5, Field::Bytes(contents)) if !typed => tensor.data = Data::Unread(contents),
            (5, Field::Bytes(contents)) => tensor.data = contents_of(contents)?,
            _ => {}
        }
        Some(())
    })?;
    Some(tensor)
}

/// Reads `InferTensorContents`, one field for each kind of element.
fn contents_of(message: &[u8]) -> Option<Data<'_>> {
    let (mut flags, mut whole, mut floats, mut texts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    fields(message, |number, field| {
        match (number, field) {
            (1, Field::Varint(value)) => flags.push(value != 0),
            (1, Field::Bytes(packed)) => varints(packed, |value| flags.push(value != 0))?,
            // An int32 that is negative travels as ten bytes, like an int64.
            (2 | 3, Field::Varint(value)) => whole.push(i128::from(value.cast_signed())),
            (2 | 3, Field::Bytes(packed)) => varints(packed, |value| whole.push(i128::from(value.cast_signed())))?,
            (4 | 5, Field::Varint(value)) => whole.push(i128::from(value)),
            (4 | 5, Field::Bytes(packed)) => varints(packed, |value| whole.push(i128::from(value)))?,
            (6, Field::Fixed32(value)) => floats.push(f32::from_le_bytes(value).into()),
            (6, Field::Bytes(packed)) => {
                floats.extend(packed.as_chunks::<4>().0.iter().map(|value| f64::from(f32::from_le_bytes(*value))));
            }
            (7, Field::Fixed64(value)) => floats.push(f64::from_le_bytes(value)),
            (7, Field::Bytes(packed)) => {
                floats.extend(packed.as_chunks::<8>().0.iter().map(|value| f64::from_le_bytes(*value)));
            }
            (8, Field::Bytes(text)) => texts.push(text),
            _ => {}
        }
        Some(())
    })?;
    Some(match (flags.is_empty(), whole.is_empty(), floats.is_empty()) {
        (false, ..) => Data::Flags(flags),
        (_, false, _) => Data::Whole(whole),
        (.., false) => Data::Floats(floats),
        _ if texts.is_empty() => Data::None,
        _ => Data::Texts(texts),
    })
}

/// Walks the fields of a message, in any order. Nothing when it is no message, or `take` says so.
fn fields<'a>(mut message: &'a [u8], mut take: impl FnMut(u64, Field<'a>) -> Option<()>) -> Option<()> {
    while !message.is_empty() {
        let key = varint(&mut message)?;
        let field = match key & 7 {
            0 => Field::Varint(varint(&mut message)?),
            1 => Field::Fixed64(*chunk(&mut message)?),
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                let (bytes, rest) = message.split_at_checked(length)?;
                message = rest;
                Field::Bytes(bytes)
            }
            5 => Field::Fixed32(*chunk(&mut message)?),
            _ => return None,
        };
        take(key >> 3, field)?;
    }
    Some(())
}

fn chunk<'a, const N: usize>(message: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (chunk, rest) = message.split_first_chunk::<N>()?;
    *message = rest;
    Some(chunk)
}

fn varints(mut packed: &[u8], mut take: impl FnMut(u64)) -> Option<()> {
    while !packed.is_empty() {
        take(varint(&mut packed)?);
    }
    Some(())
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn varint(mut value: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while value > 0x7f {
            bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    }

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2][..], &varint(bytes.len()), bytes].concat()
    }

    /// A `ModelInferResponse` with one tensor `y` of floats, in a typed field or behind it as bytes.
    pub(in super::super) fn response(values: &[f32], raw: bool) -> Vec<u8> {
        let packed: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let contents = if raw { Vec::new() } else { field(5, &field(6, &packed)) };
        let tensor = [field(1, b"y"), field(2, b"FP32"), field(3, &varint(values.len())), contents].concat();
        let raws = if raw { field(6, &packed) } else { Vec::new() };
        [field(1, b"model"), field(2, b"7"), field(5, &tensor), raws].concat()
    }

    #[test]
    fn outputs_are_read_in_every_way_they_travel() {
        let raw: Vec<u8> = [1.0_f32, 2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
        let behind = json!({"outputs": [{"name": "y", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 8}}]});
        let inside = json!({"outputs": [{"name": "y", "datatype": "FP32", "shape": [2], "data": [1.0, 2.0]}]});
        let (typed, packed) = (response(&[1.0, 2.0], false), response(&[1.0, 2.0], true));
        let wrapped = field(2, &typed);
        for tensors in [
            of_json(&behind, &raw),
            of_json(&inside, &[]),
            of_message(&typed, true),
            of_message(&packed, true),
            of_stream_message(&wrapped, true),
            of_stream_message(&typed, true),
        ] {
            let tensors = tensors.expect("outputs");
            assert_eq!(tensors.len(), 1);
            assert_eq!(tensors[0].to_string(), "FP32 [2], 2 elements");
        }
        assert!(of_json(&behind, &raw[..7]).is_none(), "cut");
        assert!(of_stream_message(&field(1, b"an error"), true).is_none(), "Triton's error has no outputs");
    }

    #[test]
    fn compressed_and_cut_messages_are_not_guessed_at() {
        assert_eq!(messages(b"\0\0\0\0\x01a\0\0\0\0\0"), Some(vec![&b"a"[..], b""]));
        assert_eq!(messages(b"\x01\0\0\0\x01a"), None);
        assert_eq!(messages(b"\0\0\0\0\x02a"), None);
        assert_eq!(messages(b"\0\0"), None);
    }

    proptest! {
        #[test]
        fn garbage_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = messages(&bytes);
            let _ = of_message(&bytes, true);
            let _ = of_stream_message(&bytes, true);
        }

        #[test]
        fn a_damaged_answer_is_survived(at: prop::sample::Index, byte: u8, raw: bool) {
            let mut bytes = response(&[1.0, 2.0], raw);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = of_message(&bytes, true).map(|tensors| tensors.iter().map(ToString::to_string).collect::<Vec<_>>());
        }
    }
}

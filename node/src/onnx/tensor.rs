//! Tensors on the wire: the datatypes of the Open Inference Protocol and their JSON and binary forms.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde_json::value::RawValue;
use tract_onnx::prelude::{Datum, DatumType, Tensor, tensor1};
use tract_onnx::tract_core::internal::f16;

/// No ONNX model in use has more dimensions; a bound keeps hostile nesting from growing the shape.
const RANK_LIMIT: usize = 16;

/// An element type by its name in the Open Inference Protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Datatype {
    Bool,
    Int8,
    Int16,
    Int32,
    Int64,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Fp16,
    Fp32,
    Fp64,
    Bytes,
}

/// One JSON scalar before it becomes an element.
#[derive(Clone, Copy, Debug)]
enum Scalar<'a> {
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Text(&'a str),
    /// What pandas writes for a missing value, and this server for NaN.
    Null,
}

/// An element that can be read from and written to both forms.
trait Element: Datum + Clone {
    /// Bytes of one element in the binary form.
    const SIZE: usize;
    /// What a JSON value must be, for the message.
    const EXPECTED: &'static str;

    fn read_le(bytes: &[u8]) -> Self;
    fn put_le(&self, out: &mut Vec<u8>);
    fn from_scalar(scalar: Scalar<'_>) -> Option<Self>;
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error>;
}

/// Elements and shape as they are found in nested JSON lists.
struct Collect<T> {
    elements: Vec<T>,
    /// Length of each level; `None` until the first list of that level is complete.
    shape: Vec<Option<usize>>,
    /// The level at which scalars stand, once one was seen.
    rank: Option<usize>,
}

struct Level<'a, T> {
    into: &'a mut Collect<T>,
    depth: usize,
}

/// A slice seen as nested lists of a shape.
struct Nested<'a, T> {
    elements: &'a [T],
    shape: &'a [usize],
}

/// Runs `$body` with `$t` as the Rust type of fixed-size elements, or `$text` for BYTES.
macro_rules! with_element {
    ($datatype:expr, $t:ident => $body:expr, bytes => $text:expr) => {
        match $datatype {
            Datatype::Bool => with_element!(@ $t bool $body),
            Datatype::Int8 => with_element!(@ $t i8 $body),
            Datatype::Int16 => with_element!(@ $t i16 $body),
            Datatype::Int32 => with_element!(@ $t i32 $body),
            Datatype::Int64 => with_element!(@ $t i64 $body),
            Datatype::Uint8 => with_element!(@ $t u8 $body),
            Datatype::Uint16 => with_element!(@ $t u16 $body),
            Datatype::Uint32 => with_element!(@ $t u32 $body),
            Datatype::Uint64 => with_element!(@ $t u64 $body),
            Datatype::Fp16 => with_element!(@ $t f16 $body),
            Datatype::Fp32 => with_element!(@ $t f32 $body),
            Datatype::Fp64 => with_element!(@ $t f64 $body),
            Datatype::Bytes => $text,
        }
    };
    (@ $t:ident $type:ident $body:expr) => {{ type $t = $type; $body }};
}

/// Reads the binary form; `bytes` must be exactly as long as `shape` asks for.
pub(super) fn from_binary(datatype: Datatype, shape: &[usize], bytes: &[u8]) -> Result<Tensor, String> {
    let count = element_count(shape)?;
    with_element!(datatype, T => {
        let want = count.checked_mul(T::SIZE).ok_or_else(|| format!("shape {shape:?} is too large"))?;
        if bytes.len() != want {
            return Err(format!(
                "shape {shape:?} of {datatype} takes {want} bytes, the binary data has {}", bytes.len()
            ));
        }
        build::<T>(shape, &bytes.chunks_exact(T::SIZE).map(T::read_le).collect::<Vec<_>>())
    }, bytes => build::<String>(shape, &read_strings(bytes, count)?))
}

/// Reads the JSON form: a flat list in row-major order, or lists nested as `shape` says.
pub(super) fn from_json(datatype: Datatype, shape: &[usize], json: &RawValue) -> Result<Tensor, String> {
    let count = element_count(shape)?;
    with_element!(datatype, T => shaped::<T>(collect(json)?, shape, count),
        bytes => shaped::<String>(collect(json)?, shape, count))
}

/// Reads nested JSON lists whose shape is not declared.
pub(super) fn from_nested(datatype: Datatype, json: &RawValue) -> Result<Tensor, String> {
    with_element!(datatype, T => inferred::<T>(collect(json)?), bytes => inferred::<String>(collect(json)?))
}

/// Appends the binary form.
pub(super) fn put_binary(tensor: &Tensor, out: &mut Vec<u8>) -> Result<(), String> {
    let datatype = Datatype::of(tensor.datum_type()).ok_or_else(|| unservable(tensor))?;
    with_element!(datatype, T => slice::<T>(tensor)?.iter().for_each(|element| element.put_le(out)), bytes => {
        for text in slice::<String>(tensor)? {
            let length = u32::try_from(text.len()).map_err(|_| "a BYTES element is over 4 GiB".to_owned())?;
            out.extend_from_slice(&length.to_le_bytes());
            out.extend_from_slice(text.as_bytes());
        }
    });
    Ok(())
}

/// Renders the JSON form: nested as the tensor's shape when `nested`, else flat in row-major order.
pub(super) fn to_json(tensor: &Tensor, nested: bool) -> Result<Box<RawValue>, String> {
    let flat = [tensor.len()];
    render(tensor, if nested { tensor.shape() } else { &flat })
}

/// Renders the JSON form with the lists of `shape`, which must hold as many elements as the tensor.
pub(super) fn render(tensor: &Tensor, shape: &[usize]) -> Result<Box<RawValue>, String> {
    let datatype = Datatype::of(tensor.datum_type()).ok_or_else(|| unservable(tensor))?;
    let mut out = Vec::with_capacity(tensor.len().saturating_mul(8));
    with_element!(datatype,
        T => Nested { elements: slice::<T>(tensor)?, shape }.write(&mut out),
        bytes => Nested { elements: slice::<String>(tensor)?, shape }.write(&mut out))
    .map_err(|cause| cause.to_string())?;
    let text = String::from_utf8(out).map_err(|cause| cause.to_string())?;
    RawValue::from_string(text).map_err(|cause| cause.to_string())
}

/// Counts the elements of a shape, which must hold at least one and fit the address space.
pub(super) fn element_count(shape: &[usize]) -> Result<usize, String> {
    if shape.len() > RANK_LIMIT {
        return Err(format!("{} dimensions are over the limit of {RANK_LIMIT}", shape.len()));
    }
    let count = shape.iter().try_fold(1_usize, |product, dim| product.checked_mul(*dim));
    match count {
        None => Err(format!("shape {shape:?} is too large")),
        Some(0) => Err(format!("shape {shape:?} holds no element")),
        Some(count) => Ok(count),
    }
}

fn unservable(tensor: &Tensor) -> String {
    format!("elements of type {:?} have no datatype in the protocol", tensor.datum_type())
}

fn slice<T: Datum>(tensor: &Tensor) -> Result<&[T], String> {
    let plain = tensor.try_as_plain_ram().map_err(|cause| cause.to_string())?;
    plain.as_slice::<T>().map_err(|cause| cause.to_string())
}

fn build<T: Datum>(shape: &[usize], elements: &[T]) -> Result<Tensor, String> {
    tensor1(elements).into_shape(shape).map_err(|cause| cause.to_string())
}

fn read_strings(mut bytes: &[u8], count: usize) -> Result<Vec<String>, String> {
    // Every element has at least its four length bytes: a count beyond that must not size the vector.
    let mut texts = Vec::with_capacity(count.min(bytes.len() / 4));
    for index in 0..count {
        let (length, rest) =
            bytes.split_first_chunk::<4>().ok_or_else(|| format!("BYTES data ends before element {index}"))?;
        let length = u32::from_le_bytes(*length) as usize;
        let (text, rest) =
            rest.split_at_checked(length).ok_or_else(|| format!("BYTES data ends inside element {index}"))?;
        let text = std::str::from_utf8(text).map_err(|_| format!("BYTES element {index} is not UTF-8 text"))?;
        texts.push(text.to_owned());
        bytes = rest;
    }
    if bytes.is_empty() {
        Ok(texts)
    } else {
        Err(format!("{} bytes are left after {count} BYTES elements", bytes.len()))
    }
}

fn collect<T: Element>(json: &RawValue) -> Result<Collect<T>, String> {
    let mut into = Collect { elements: Vec::new(), shape: Vec::new(), rank: None };
    let mut reader = serde_json::Deserializer::from_str(json.get());
    Level { into: &mut into, depth: 0 }.deserialize(&mut reader).map_err(|cause| cause.to_string())?;
    Ok(into)
}

fn shaped<T: Element>(found: Collect<T>, shape: &[usize], count: usize) -> Result<Tensor, String> {
    if found.elements.len() != count {
        return Err(format!("shape {shape:?} holds {count} elements, the data has {}", found.elements.len()));
    }
    if found.shape.len() > 1 && found.lengths() != shape {
        return Err(format!("the data is nested as {:?}, the shape says {shape:?}", found.lengths()));
    }
    build(shape, &found.elements)
}

fn inferred<T: Element>(found: Collect<T>) -> Result<Tensor, String> {
    let shape = found.lengths();
    element_count(&shape)?;
    build(&shape, &found.elements)
}

// === impl Datatype ===

impl Datatype {
    const ALL: [Self; 13] = [
        Self::Bool,
        Self::Int8,
        Self::Int16,
        Self::Int32,
        Self::Int64,
        Self::Uint8,
        Self::Uint16,
        Self::Uint32,
        Self::Uint64,
        Self::Fp16,
        Self::Fp32,
        Self::Fp64,
        Self::Bytes,
    ];

    /// Finds a datatype by its word.
    pub(super) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|datatype| datatype.word() == word)
    }

    /// Returns the word of the protocol.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Bool => "BOOL",
            Self::Int8 => "INT8",
            Self::Int16 => "INT16",
            Self::Int32 => "INT32",
            Self::Int64 => "INT64",
            Self::Uint8 => "UINT8",
            Self::Uint16 => "UINT16",
            Self::Uint32 => "UINT32",
            Self::Uint64 => "UINT64",
            Self::Fp16 => "FP16",
            Self::Fp32 => "FP32",
            Self::Fp64 => "FP64",
            Self::Bytes => "BYTES",
        }
    }

    /// Returns the datatype of the engine's element type, if the protocol has one.
    pub(super) fn of(datum: DatumType) -> Option<Self> {
        Self::ALL.into_iter().find(|datatype| datatype.datum() == datum)
    }

    /// Returns the engine's element type.
    pub(super) fn datum(self) -> DatumType {
        with_element!(self, T => T::datum_type(), bytes => String::datum_type())
    }
}

impl fmt::Display for Datatype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

// === impl Element ===

macro_rules! numbers {
    ($($type:ident, $expected:literal, $from:expr;)*) => {$(
        impl Element for $type {
            const SIZE: usize = size_of::<$type>();
            const EXPECTED: &'static str = $expected;

            fn read_le(bytes: &[u8]) -> Self {
                let mut le = [0; size_of::<$type>()];
                le.copy_from_slice(bytes);
                Self::from_le_bytes(le)
            }

            fn put_le(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            fn from_scalar(scalar: Scalar<'_>) -> Option<Self> {
                #[allow(clippy::redundant_closure_call, reason = "the closure is the macro's argument")]
                ($from)(scalar)
            }

            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                serde::Serialize::serialize(self, to)
            }
        }
    )*};
}

numbers! {
    i8, "an integer of 8 bits", |s: Scalar<'_>| s.integer()?.try_into().ok();
    i16, "an integer of 16 bits", |s: Scalar<'_>| s.integer()?.try_into().ok();
    i32, "an integer of 32 bits", |s: Scalar<'_>| s.integer()?.try_into().ok();
    i64, "an integer of 64 bits", |s: Scalar<'_>| s.integer()?.try_into().ok();
    u8, "an integer from 0 to 255", |s: Scalar<'_>| s.integer()?.try_into().ok();
    u16, "an integer from 0 to 65535", |s: Scalar<'_>| s.integer()?.try_into().ok();
    u32, "an unsigned integer of 32 bits", |s: Scalar<'_>| s.integer()?.try_into().ok();
    u64, "an unsigned integer of 64 bits", |s: Scalar<'_>| s.integer()?.try_into().ok();
    f32, "a number", |s: Scalar<'_>| s.number().map(|n| n as f32);
    f64, "a number", |s: Scalar<'_>| s.number();
}

impl Element for f16 {
    const SIZE: usize = 2;
    const EXPECTED: &'static str = "a number";

    fn read_le(bytes: &[u8]) -> Self {
        let mut le = [0; 2];
        le.copy_from_slice(bytes);
        Self::from_le_bytes(le)
    }

    fn put_le(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }

    fn from_scalar(scalar: Scalar<'_>) -> Option<Self> {
        scalar.number().map(Self::from_f64)
    }

    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f32(self.to_f32())
    }
}

impl Element for bool {
    const SIZE: usize = 1;
    const EXPECTED: &'static str = "true or false";

    fn read_le(bytes: &[u8]) -> Self {
        bytes.iter().any(|byte| *byte != 0)
    }

    fn put_le(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn from_scalar(scalar: Scalar<'_>) -> Option<Self> {
        match scalar {
            Scalar::Bool(value) => Some(value),
            // Some clients render numpy booleans as numbers.
            other => match other.integer()? {
                0 => Some(false),
                1 => Some(true),
                _ => None,
            },
        }
    }

    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bool(*self)
    }
}

/// Only the JSON half is used: the binary form of BYTES has no fixed element size.
impl Element for String {
    const SIZE: usize = 0;
    const EXPECTED: &'static str = "a string";

    fn read_le(_bytes: &[u8]) -> Self {
        Self::new()
    }

    fn put_le(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }

    fn from_scalar(scalar: Scalar<'_>) -> Option<Self> {
        match scalar {
            Scalar::Text(text) => Some(text.to_owned()),
            _ => None,
        }
    }

    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self)
    }
}

// === impl Scalar ===

impl Scalar<'_> {
    /// Returns a whole number; `3.0` counts as one because numpy writes integers of float arrays so.
    fn integer(self) -> Option<i128> {
        /// Every integer below this is exact in a double.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        match self {
            Self::Int(value) => Some(value.into()),
            Self::Uint(value) => Some(value.into()),
            Self::Float(value) if value.fract() == 0.0 && value.abs() <= EXACT => Some(value as i128),
            _ => None,
        }
    }

    fn number(self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(value as f64),
            Self::Uint(value) => Some(value as f64),
            Self::Float(value) => Some(value),
            Self::Null => Some(f64::NAN),
            _ => None,
        }
    }
}

// === impl Collect ===

impl<T> Collect<T> {
    fn lengths(&self) -> Vec<usize> {
        self.shape.iter().map(|length| length.unwrap_or(0)).collect()
    }
}

impl<T: Element> Level<'_, T> {
    fn scalar<E: serde::de::Error>(self, scalar: Scalar<'_>) -> Result<(), E> {
        if self.depth == 0 {
            return Err(E::custom("the data is not a list"));
        }
        if *self.into.rank.get_or_insert(self.depth) != self.depth || self.into.shape.len() > self.depth {
            return Err(E::custom("the data mixes lists and values at one level"));
        }
        let element = T::from_scalar(scalar).ok_or_else(|| E::custom(format_args!("expected {}", T::EXPECTED)))?;
        self.into.elements.push(element);
        Ok(())
    }
}

impl<'de, T: Element> DeserializeSeed<'de> for Level<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de, T: Element> Visitor<'de> for Level<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} or a list of such", T::EXPECTED)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self { into, depth } = self;
        if depth == RANK_LIMIT || into.rank.is_some_and(|rank| depth >= rank) {
            return Err(A::Error::custom("the data mixes lists and values at one level, or is nested too deep"));
        }
        if into.shape.len() == depth {
            into.shape.push(None);
        }
        let mut length = 0;
        while list.next_element_seed(Level { into: &mut *into, depth: depth + 1 })?.is_some() {
            length += 1;
        }
        if *into.shape[depth].get_or_insert(length) != length {
            return Err(A::Error::custom("the rows differ in length"));
        }
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.scalar(Scalar::Bool(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.scalar(Scalar::Int(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.scalar(Scalar::Uint(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.scalar(Scalar::Float(value))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.scalar(Scalar::Null)
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        self.scalar(Scalar::Text(value))
    }
}

// === impl Nested ===

impl<T: Element> Nested<'_, T> {
    fn write(&self, out: &mut Vec<u8>) -> serde_json::Result<()> {
        serde::Serialize::serialize(self, &mut serde_json::Serializer::new(out))
    }
}

impl<T: Element> serde::Serialize for Nested<'_, T> {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        /// Gives one element to a serializer that wants `Serialize`.
        struct One<'a, T>(&'a T);
        impl<T: Element> serde::Serialize for One<'_, T> {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                self.0.serialize(to)
            }
        }

        let Some((length, inner)) = self.shape.split_first() else {
            return match self.elements.first() {
                Some(element) => element.serialize(to),
                None => to.serialize_unit(),
            };
        };
        let mut list = to.serialize_seq(Some(*length))?;
        if inner.is_empty() {
            self.elements.iter().try_for_each(|element| list.serialize_element(&One(element)))?;
        } else {
            let width = inner.iter().product::<usize>();
            for row in 0..*length {
                let elements = self.elements.get(row * width..(row + 1) * width).unwrap_or_default();
                list.serialize_element(&Nested { elements, shape: inner })?;
            }
        }
        list.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).expect("the table holds JSON")
    }

    #[test]
    fn every_datatype_survives_both_forms() {
        for (datatype, shape, json) in [
            (Datatype::Bool, vec![2], "[true,false]"),
            (Datatype::Int8, vec![2], "[-128,127]"),
            (Datatype::Int16, vec![2], "[-32768,32767]"),
            (Datatype::Int32, vec![2], "[-2147483648,2147483647]"),
            (Datatype::Int64, vec![2], "[-9223372036854775808,9223372036854775807]"),
            (Datatype::Uint8, vec![2], "[0,255]"),
            (Datatype::Uint16, vec![2], "[0,65535]"),
            (Datatype::Uint32, vec![2], "[0,4294967295]"),
            (Datatype::Uint64, vec![2], "[0,18446744073709551615]"),
            (Datatype::Fp16, vec![2], "[0.5,-65504.0]"),
            (Datatype::Fp32, vec![2], "[0.1,-1e30]"),
            (Datatype::Fp64, vec![1, 2], "[0.1,1e300]"),
            (Datatype::Bytes, vec![2, 1], r#"["","grüß"]"#),
        ] {
            let tensor = from_json(datatype, &shape, &raw(json)).expect(json);
            assert_eq!(tensor.datum_type(), datatype.datum());
            let mut bytes = Vec::new();
            put_binary(&tensor, &mut bytes).expect("servable");
            let again = from_binary(datatype, &shape, &bytes).expect("what was written is read");
            assert_eq!(again, tensor, "{datatype}");
            assert_eq!(to_json(&again, false).expect("servable").get().replace("e+", "e"), json);
            assert_eq!(Datatype::from_word(datatype.word()), Some(datatype));
        }
    }

    /// Each row: datatype, shape, data, a part of the refusal.
    #[test]
    fn wrong_data_is_refused_in_words() {
        for (datatype, shape, json, why) in [
            (Datatype::Fp32, vec![2], "[1]", "holds 2 elements, the data has 1"),
            (Datatype::Fp32, vec![2, 2], "[[1,2,3,4]]", "nested as [1, 4]"),
            (Datatype::Fp32, vec![4], "[[1,2],[3]]", "differ in length"),
            (Datatype::Fp32, vec![3], "[1,[2,3]]", "mixes lists and values"),
            (Datatype::Fp32, vec![3], "[[1,2],3]", "mixes lists and values"),
            (Datatype::Fp32, vec![1], "7", "not a list"),
            (Datatype::Fp32, vec![1], r#"["7"]"#, "expected a number"),
            (Datatype::Int32, vec![1], "[null]", "expected an integer"),
            (Datatype::Int8, vec![1], "[128]", "expected an integer of 8 bits"),
            (Datatype::Int64, vec![1], "[1.5]", "expected an integer of 64 bits"),
            (Datatype::Uint64, vec![1], "[-1]", "expected an unsigned integer"),
            (Datatype::Bool, vec![1], "[2]", "expected true or false"),
            (Datatype::Bytes, vec![1], "[2]", "expected a string"),
            (Datatype::Fp32, vec![0, 64], "[]", "holds no element"),
            (Datatype::Fp32, vec![usize::MAX, 2], "[]", "too large"),
        ] {
            let refusal = from_json(datatype, &shape, &raw(json)).expect_err(json);
            assert!(refusal.contains(why), "{json}: {refusal}");
        }
    }

    #[test]
    fn wrong_bytes_are_refused_in_words() {
        for (datatype, shape, bytes, why) in [
            (Datatype::Fp32, vec![2], &[0; 7][..], "takes 8 bytes, the binary data has 7"),
            (Datatype::Bytes, vec![2], &[1, 0, 0, 0, b'a'][..], "ends before element 1"),
            (Datatype::Bytes, vec![1], &[9, 0, 0, 0, b'a'][..], "ends inside element 0"),
            (Datatype::Bytes, vec![1], &[1, 0, 0, 0, 0xff][..], "not UTF-8"),
            (Datatype::Bytes, vec![1], &[1, 0, 0, 0, b'a', 0][..], "1 bytes are left"),
        ] {
            let refusal = from_binary(datatype, &shape, bytes).expect_err(why);
            assert!(refusal.contains(why), "{refusal}");
        }
    }

    #[test]
    fn a_declared_count_never_sizes_memory() {
        let refusal = from_binary(Datatype::Bytes, &[1 << 60], &[]).expect_err("no bytes, no elements");
        assert!(refusal.contains("element 0"), "{refusal}");
    }

    #[test]
    fn the_shape_of_nested_lists_is_found() {
        let tensor = from_nested(Datatype::Int32, &raw("[[[1],[2]],[[3],[4]],[[5],[6]]]")).expect("regular");
        assert_eq!(tensor.shape(), [3, 2, 1]);
        assert_eq!(to_json(&tensor, true).expect("servable").get(), "[[[1],[2]],[[3],[4]],[[5],[6]]]");
        assert!(from_nested(Datatype::Int32, &raw("[[],[]]")).is_err());
    }
}

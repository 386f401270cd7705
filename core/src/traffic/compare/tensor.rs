//! Tensors of the Open Inference Protocol, whichever way their elements travel.

use std::fmt;

use serde_json::Value;

use super::{
    difference::{Findings, Kind},
    path::{Place, Step},
};

/// Stands for how far off something is that is no number.
const WHOLLY: u64 = u64::MAX;

/// An output of a model.
#[derive(Clone, Debug, Default)]
pub(super) struct Tensor<'a> {
    pub(super) name: &'a str,
    pub(super) datatype: &'a str,
    pub(super) shape: Vec<i64>,
    pub(super) data: Data<'a>,
}

/// The elements of a tensor.
#[derive(Clone, Debug, Default)]
pub(super) enum Data<'a> {
    /// None are in the answer.
    #[default]
    None,
    /// As the protocol packs them: little-endian, texts with a length of four bytes before each.
    Raw(&'a [u8]),
    /// Typed fields that are too large to be read.
    Unread(&'a [u8]),
    /// As JSON, nested or flat.
    Json(&'a Value),
    /// Numbers out of a typed field.
    Floats(Vec<f64>),
    Whole(Vec<i128>),
    Flags(Vec<bool>),
    Texts(Vec<&'a [u8]>),
}

/// One element, in the type that compares it without loss.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Element<'a> {
    Float(f64),
    Whole(i128),
    Flag(bool),
    Text(&'a [u8]),
    /// Of no type there is.
    Strange,
}

/// Compares the outputs of two answers by name.
pub(super) fn outputs<'a>(findings: &mut Findings<'_>, expected: &[Tensor<'a>], got: &[Tensor<'a>]) {
    for (at, tensor) in expected.iter().enumerate() {
        let mut place = Place(vec![Step::Key("outputs"), Step::Key(tensor.name)]);
        if tensor.name.is_empty() {
            place.0[1] = Step::At(at);
        }
        let other =
            if tensor.name.is_empty() { got.get(at) } else { got.iter().find(|other| other.name == tensor.name) };
        match other {
            _ if findings.rules().ignores(&place) => {}
            Some(other) => one(findings, &mut place, tensor, other),
            None => findings.note(Kind::Form, WHOLLY, place, tensor, "nothing"),
        }
    }
    for tensor in got.iter().filter(|tensor| expected.iter().all(|known| known.name != tensor.name)) {
        let place = Place(vec![Step::Key("outputs"), Step::Key(tensor.name)]);
        if !findings.rules().ignores(&place) {
            findings.note(Kind::Form, WHOLLY, place, "nothing", tensor);
        }
    }
}

fn one<'a>(findings: &mut Findings<'_>, place: &mut Place<'a>, expected: &Tensor<'a>, got: &Tensor<'a>) {
    if expected.datatype != got.datatype || expected.shape != got.shape {
        return findings.note(Kind::Form, WHOLLY, &*place, expected, got);
    }
    match (&expected.data, &got.data) {
        (Data::Raw(ours), Data::Raw(theirs)) | (Data::Unread(ours), Data::Unread(theirs)) if ours == theirs => return,
        (Data::Unread(_), _) | (_, Data::Unread(_)) => return findings.leave(),
        _ if elements(expected).count() != elements(got).count() => {
            return findings.note(Kind::Form, WHOLLY, &*place, expected, got);
        }
        _ => {}
    }
    for (at, (a, b)) in elements(expected).zip(elements(got)).enumerate() {
        if findings.is_full() {
            return;
        }
        let off = match (a, b) {
            (Element::Float(a), Element::Float(b)) => findings.rules().off(a, b),
            (Element::Whole(x), Element::Whole(y)) if x != y => {
                Some((((y - x).abs() as f64) / (x.abs() as f64).max(1.0) * 1e9) as u64)
            }
            _ => (a != b || a == Element::Strange).then_some(WHOLLY),
        };
        if let Some(off) = off {
            place.0.push(Step::At(at));
            findings.note(Kind::Value, off, &*place, a, b);
            place.0.pop();
        }
    }
}

/// Walks the elements where they lie.
fn elements<'t, 'a>(tensor: &'t Tensor<'a>) -> Box<dyn Iterator<Item = Element<'a>> + 't> {
    let is_float = matches!(tensor.datatype, "FP16" | "FP32" | "FP64" | "BF16");
    match &tensor.data {
        Data::None | Data::Unread(_) => Box::new(std::iter::empty()),
        Data::Raw(bytes) => raw(tensor.datatype, bytes),
        Data::Json(value) => {
            let mut flat = Vec::new();
            flatten(value, is_float, &mut flat);
            Box::new(flat.into_iter())
        }
        Data::Floats(values) => Box::new(values.iter().map(|value| Element::Float(*value))),
        Data::Whole(values) => Box::new(values.iter().map(|value| Element::Whole(*value))),
        Data::Flags(values) => Box::new(values.iter().map(|value| Element::Flag(*value))),
        Data::Texts(values) => Box::new(values.iter().map(|value| Element::Text(value))),
    }
}

fn flatten<'a>(value: &'a Value, is_float: bool, flat: &mut Vec<Element<'a>>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| flatten(value, is_float, flat)),
        Value::Number(number) => {
            let whole = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
            flat.push(match whole.filter(|_| !is_float) {
                Some(whole) => Element::Whole(whole),
                None => Element::Float(number.as_f64().unwrap_or(f64::NAN)),
            });
        }
        Value::Bool(flag) => flat.push(Element::Flag(*flag)),
        Value::String(text) => flat.push(Element::Text(text.as_bytes())),
        // Servers write what is not a number as null.
        Value::Null if is_float => flat.push(Element::Float(f64::NAN)),
        Value::Null | Value::Object(_) => flat.push(Element::Strange),
    }
}

/// Reads packed elements; what is left over, or of no known type, is compared as bytes.
fn raw<'a>(datatype: &str, bytes: &'a [u8]) -> Box<dyn Iterator<Item = Element<'a>> + 'a> {
    type Elements<'a> = Box<dyn Iterator<Item = Element<'a>> + 'a>;
    fn each<'a, const N: usize>(bytes: &'a [u8], read: fn([u8; N]) -> Element<'a>) -> Elements<'a> {
        let (chunks, rest) = bytes.as_chunks::<N>();
        let whole = chunks.iter().map(move |chunk| read(*chunk));
        Box::new(whole.chain((!rest.is_empty()).then_some(Element::Text(rest))))
    }
    match datatype {
        "BOOL" => Box::new(bytes.iter().map(|byte| Element::Flag(*byte != 0))),
        "INT8" => each::<1>(bytes, |b| Element::Whole(i8::from_le_bytes(b).into())),
        "UINT8" => each::<1>(bytes, |b| Element::Whole(u8::from_le_bytes(b).into())),
        "INT16" => each::<2>(bytes, |b| Element::Whole(i16::from_le_bytes(b).into())),
        "UINT16" => each::<2>(bytes, |b| Element::Whole(u16::from_le_bytes(b).into())),
        "INT32" => each::<4>(bytes, |b| Element::Whole(i32::from_le_bytes(b).into())),
        "UINT32" => each::<4>(bytes, |b| Element::Whole(u32::from_le_bytes(b).into())),
        "INT64" => each::<8>(bytes, |b| Element::Whole(i64::from_le_bytes(b).into())),
        "UINT64" => each::<8>(bytes, |b| Element::Whole(u64::from_le_bytes(b).into())),
        "FP16" => each::<2>(bytes, |b| Element::Float(half(u16::from_le_bytes(b)))),
        "BF16" => each::<2>(bytes, |b| Element::Float(f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16).into())),
        "FP32" => each::<4>(bytes, |b| Element::Float(f32::from_le_bytes(b).into())),
        "FP64" => each::<8>(bytes, |b| Element::Float(f64::from_le_bytes(b))),
        "BYTES" => Box::new(texts(bytes)),
        _ => Box::new(std::iter::once(Element::Text(bytes))),
    }
}

/// Reads texts, each behind its length.
fn texts(mut bytes: &[u8]) -> impl Iterator<Item = Element<'_>> {
    std::iter::from_fn(move || {
        let split =
            |(length, rest): (&[u8; 4], _)| <[u8]>::split_at_checked(rest, u32::from_le_bytes(*length) as usize);
        // What is cut is one text.
        let (text, rest) = bytes.split_first_chunk().and_then(split).unwrap_or((bytes, &[]));
        let is_over = bytes.is_empty();
        bytes = rest;
        (!is_over).then_some(Element::Text(text))
    })
}

/// Reads a half-precision number.
fn half(bits: u16) -> f64 {
    let (sign, exponent, fraction) = (bits >> 15, (bits >> 10) & 0x1f, f64::from(bits & 0x3ff));
    let magnitude = match exponent {
        0 => fraction * 2_f64.powi(-24),
        0x1f if fraction == 0.0 => f64::INFINITY,
        0x1f => f64::NAN,
        _ => (1.0 + fraction / 1_024.0) * 2_f64.powi(i32::from(exponent) - 15),
    };
    if sign == 1 { -magnitude } else { magnitude }
}

impl fmt::Display for Tensor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.data {
            Data::Unread(_) => write!(f, "{} {:?}", self.datatype, self.shape),
            _ => write!(f, "{} {:?}, {} elements", self.datatype, self.shape, elements(self).count()),
        }
    }
}

impl fmt::Display for Element<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Float(value) => write!(f, "{value}"),
            Self::Whole(value) => write!(f, "{value}"),
            Self::Flag(value) => write!(f, "{value}"),
            Self::Text(bytes) => write!(f, "{}", bytes.escape_ascii()),
            Self::Strange => f.write_str("no element"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::MirrorRules,
        traffic::compare::difference::{Difference, Rules},
    };

    fn compare(expected: &[Tensor<'_>], got: &[Tensor<'_>]) -> Option<Difference> {
        let rules = Rules::of(&MirrorRules::default());
        let mut findings = Findings::new(&rules);
        outputs(&mut findings, expected, got);
        findings.finish()
    }

    fn tensor<'a>(datatype: &'a str, count: i64, data: Data<'a>) -> Tensor<'a> {
        Tensor { name: "y", datatype, shape: vec![count], data }
    }

    #[test]
    fn halves_are_read_as_the_standard_says() {
        for (bits, value) in [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65_504.0),
            (0x0001, 2_f64.powi(-24)),
            (0x3555, 0.333_251_953_125),
            (0x7c00, f64::INFINITY),
            (0x8000, -0.0),
        ] {
            assert_eq!(half(bits), value, "{bits:x}");
        }
        assert!(half(0x7e00).is_nan());
    }

    #[test]
    fn elements_are_the_same_whichever_way_they_travel() {
        let raw: Vec<u8> = [1.0_f32, 2.5].iter().flat_map(|value| value.to_le_bytes()).collect();
        let json = serde_json::json!([[1, 2.5]]);
        let ways =
            [Data::Raw(&raw), Data::Json(&json), Data::Floats(vec![1.0, 2.5])].map(|data| tensor("FP32", 2, data));
        for a in &ways {
            for b in &ways {
                assert_eq!(compare(std::slice::from_ref(a), std::slice::from_ref(b)), None);
            }
        }
    }

    #[test]
    fn tensors_differ_in_form_or_in_an_element() {
        let floats = |values: &[f64]| tensor("FP64", values.len() as i64, Data::Floats(values.to_vec()));
        let whole = |values: &[i128]| tensor("INT64", values.len() as i64, Data::Whole(values.to_vec()));
        let text = b"\x02\0\0\0ab\x01\0\0\0c";
        let other = b"\x02\0\0\0ab\x01\0\0\0d";
        let texts = |bytes| tensor("BYTES", 2, Data::Raw(bytes));
        for (expected, got, found, why) in [
            (vec![floats(&[1.0])], vec![floats(&[1.000_000_1])], None, "within the tolerance"),
            (vec![floats(&[1.0, 2.0])], vec![floats(&[1.0, 2.1])], Some((Kind::Value, "outputs.y[1]")), "beyond it"),
            (vec![whole(&[3])], vec![whole(&[4])], Some((Kind::Value, "outputs.y[0]")), "whole numbers are exact"),
            (vec![whole(&[3])], vec![floats(&[3.0])], Some((Kind::Form, "outputs.y")), "another type"),
            (vec![floats(&[1.0])], vec![floats(&[1.0, 1.0])], Some((Kind::Form, "outputs.y")), "another shape"),
            (vec![floats(&[1.0])], vec![], Some((Kind::Form, "outputs.y")), "missing"),
            (vec![], vec![floats(&[1.0])], Some((Kind::Form, "outputs.y")), "too much"),
            (vec![texts(text)], vec![texts(other)], Some((Kind::Value, "outputs.y[1]")), "texts"),
            (vec![texts(&text[..7])], vec![texts(&text[..7])], None, "cut texts that are the same bytes"),
        ] {
            let difference = compare(&expected, &got);
            let told = difference.as_ref().map(|difference| (difference.kind, difference.place.as_str()));
            assert_eq!(told, found, "{why}");
        }
    }
}

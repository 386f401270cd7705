//! The Huffman code of HPACK (RFC 7541, Appendix B). It is canonical: the lengths of its codes say everything.

/// Bits of each byte's code.
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, //
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, //
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, //
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, //
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, //
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, //
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, //
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, //
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, //
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, //
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, //
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, //
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, //
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, //
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, //
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

/// The longest code.
const LONGEST: usize = 30;

/// Bits that are looked up at once.
const SHORT: u32 = 8;

/// All codes of one length are consecutive numbers.
#[derive(Clone, Copy)]
struct Family {
    first: u32,
    count: u32,
    /// Where its bytes begin in `ORDERED`.
    at: usize,
}

struct Code {
    families: [Family; LONGEST + 1],
    /// Bytes by length of their codes, then by value.
    ordered: [u8; 256],
    /// The byte and the length of a code of at most eight bits, for whatever bits follow it.
    short: [(u8, u8); 1 << SHORT],
}

static CODE: Code = Code::new();

impl Code {
    const fn new() -> Self {
        let mut families = [Family { first: 0, count: 0, at: 0 }; LONGEST + 1];
        let mut ordered = [0; 256];
        let mut short = [(0, 0); 1 << SHORT];
        let (mut length, mut code, mut at) = (1, 0, 0);
        while length <= LONGEST {
            code <<= 1;
            families[length].first = code;
            families[length].at = at;
            let mut byte = 0;
            while byte < LENGTHS.len() {
                if LENGTHS[byte] as usize == length {
                    ordered[at] = byte as u8;
                    at += 1;
                    if length as u32 <= SHORT {
                        let spare = SHORT - length as u32;
                        let mut rest = 0;
                        while rest < 1 << spare {
                            short[((code as usize) << spare) + rest] = (byte as u8, length as u8);
                            rest += 1;
                        }
                    }
                    code += 1;
                }
                byte += 1;
            }
            families[length].count = code - families[length].first;
            length += 1;
        }
        Self { families, ordered, short }
    }

    /// Finds the code that these bits begin with, of which so many are there.
    fn long(&self, bits: u64, have: u32) -> Option<(u8, u32)> {
        for length in SHORT + 1..=(LONGEST as u32).min(have) {
            let family = &self.families[length as usize];
            let place = ((bits >> (u64::BITS - length)) as u32).wrapping_sub(family.first);
            if place < family.count {
                return Some((self.ordered[family.at + place as usize], length));
            }
        }
        None
    }
}

/// Reads a text. Nothing if it is none: a code that does not exist, the one that ends a text, or filled up with anything but
/// up to seven ones (§5.2).
pub(super) fn decode(source: &[u8], text: &mut Vec<u8>) -> Option<()> {
    let mut source = source.iter();
    // The next bits, from the highest.
    let (mut bits, mut have) = (0_u64, 0_u32);
    loop {
        while have <= u64::BITS - 8 {
            let Some(byte) = source.next() else { break };
            bits |= u64::from(*byte) << (u64::BITS - 8 - have);
            have += 8;
        }
        if have == 0 {
            return Some(());
        }
        let (byte, length) = match CODE.short[(bits >> (u64::BITS - SHORT)) as usize] {
            (byte, length @ 1..) if u32::from(length) <= have => (byte, u32::from(length)),
            _ if have < SHORT => return (bits.leading_ones() >= have).then_some(()),
            _ => CODE.long(bits, have)?,
        };
        text.push(byte);
        bits <<= length;
        have -= length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(hex: &str) -> Option<String> {
        let mut text = Vec::new();
        decode(&hex::decode(hex).expect("hexadecimal"), &mut text)?;
        Some(String::from_utf8(text).expect("a text"))
    }

    /// RFC 7541 C.4 and C.6.
    #[test]
    fn texts_of_the_standard() {
        for (hex, text) in [
            ("", ""),
            ("f1e3c2e5f23a6ba0ab90f4ff", "www.example.com"),
            ("a8eb10649cbf", "no-cache"),
            ("25a849e95ba97d7f", "custom-key"),
            ("25a849e95bb8e8b4bf", "custom-value"),
            ("6402", "302"),
            ("aec3771a4b", "private"),
            ("d07abe941054d444a8200595040b8166e082a62d1bff", "Mon, 21 Oct 2013 20:13:21 GMT"),
            ("9d29ad171863c78f0b97c8e9ae82ae43d3", "https://www.example.com"),
            (
                "94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
                "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
            ),
        ] {
            assert_eq!(decoded(hex).as_deref(), Some(text), "{hex}");
        }
    }

    /// Every byte, by the code that follows from the lengths; the last codes of the table are as the standard prints them.
    #[test]
    fn every_byte_has_its_code() {
        let mut codes = [(0_u32, 0_u8); 256];
        for (length, family) in CODE.families.iter().enumerate() {
            for place in 0..family.count {
                let byte = CODE.ordered[family.at + place as usize];
                codes[usize::from(byte)] = (family.first + place, length as u8);
            }
        }
        for (byte, printed) in [(0, 0x1ff8), (10, 0x3fff_fffc), (13, 0x3fff_fffd), (22, 0x3fff_fffe), (255, 0x3ff_ffee)]
        {
            assert_eq!(codes[byte].0, printed, "of {byte}");
        }
        for byte in 0..=255_u8 {
            let (code, length) = codes[usize::from(byte)];
            // Twice, and filled up with ones.
            let spare = 64 - 2 * u32::from(length);
            let bits = (u64::from(code) << length | u64::from(code)) << spare | ((1_u64 << spare) - 1);
            let bytes = (2 * usize::from(length)).div_ceil(8);
            let mut text = Vec::new();
            assert_eq!(decode(&bits.to_be_bytes()[..bytes], &mut text), Some(()), "of {byte}");
            assert_eq!(text, [byte, byte]);
        }
    }

    #[test]
    fn what_is_no_text_is_refused() {
        for (hex, why) in [
            ("ffffffff", "the end of a text is no part of it"),
            ("f1e3c2e5f23a6ba0ab90f4ffff", "filled up with more than seven bits"),
            ("00", "filled up with zeros"),
            ("a8eb10649cb8", "filled up with zeros behind a text"),
            ("fffffff0", "cut off within a code"),
        ] {
            assert_eq!(decoded(hex), None, "{why}");
        }
    }
}

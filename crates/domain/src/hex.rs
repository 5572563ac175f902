//! Hexadecimal digits in lower case, without the formatter: every event and every attempt spells dozens of bytes.

const DIGITS: [u8; 16] = *b"0123456789abcdef";

/// The two digits of a byte, both ASCII.
pub const fn of_byte(byte: u8) -> [u8; 2] {
    [digit(byte >> 4), digit(byte & 0xf)]
}

#[expect(clippy::indexing_slicing, reason = "four bits are one of sixteen digits")]
const fn digit(four_bits: u8) -> u8 {
    DIGITS[(four_bits & 0xf) as usize]
}

/// Appends the digits of some bytes.
pub fn push(text: &mut String, bytes: &[u8]) {
    text.reserve(2 * bytes.len());
    for &byte in bytes {
        text.extend(of_byte(byte).map(char::from));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_two_digits() {
        let bytes: Vec<u8> = (0..=u8::MAX).collect();
        let expected: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut text = String::new();
        push(&mut text, &bytes);
        assert_eq!(text, expected);
    }
}

//! Bytes as hexadecimal digits.

use std::fmt::Write as _;

/// Two digits for each byte, small letters.
pub(crate) fn encode(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

/// Back again; none: it is not two digits for each of so many bytes.
pub(crate) fn decode<const BYTES: usize>(digits: &str) -> Option<[u8; BYTES]> {
    let digits = digits.as_bytes();
    let plain = digits.len() == BYTES * 2 && digits.iter().all(u8::is_ascii_hexdigit);
    if !plain {
        return None;
    }
    let mut bytes = [0; BYTES];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_come_back_and_nothing_else_is_taken_for_them() {
        assert_eq!(encode(&[0, 0xA9, 0xFF]), "00a9ff");
        assert_eq!(decode("00A9ff"), Some([0, 0xA9, 0xFF]));
        for wrong in ["", "00a9f", "00a9ff0", "00a9fg", "+0a9ff", "ä0a9f"] {
            assert_eq!(decode::<3>(wrong), None, "{wrong}");
        }
    }
}

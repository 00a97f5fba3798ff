//! Quantities as the API server writes them: it stores what it read in a form of its own, and an
//! object that was written otherwise would look changed for ever.

/// Bytes: with the largest binary suffix that leaves no fraction, or else as a number.
pub(crate) fn bytes(bytes: u64) -> String {
    const SUFFIXES: [&str; 5] = ["Ki", "Mi", "Gi", "Ti", "Pi"];
    let (mut left, mut suffix) = (bytes, "");
    for next in SUFFIXES {
        if left == 0 || !left.is_multiple_of(1024) {
            break;
        }
        (left, suffix) = (left / 1024, next);
    }
    if suffix.is_empty() {
        return decimal(bytes);
    }
    format!("{left}{suffix}")
}

/// Thousandths of a CPU.
pub(crate) fn cpu(millis: u32) -> String {
    if millis.is_multiple_of(1000) {
        decimal(u64::from(millis / 1000))
    } else {
        format!("{millis}m")
    }
}

/// A number with the largest decimal suffix that leaves no fraction.
fn decimal(number: u64) -> String {
    const SUFFIXES: [&str; 5] = ["k", "M", "G", "T", "P"];
    let (mut left, mut suffix) = (number, "");
    for next in SUFFIXES {
        if left == 0 || !left.is_multiple_of(1000) {
            break;
        }
        (left, suffix) = (left / 1000, next);
    }
    format!("{left}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_in_the_form_that_the_api_server_stores() {
        for (number, text) in [
            (2 << 30, "2Gi"),
            (1536 << 20, "1536Mi"),
            (1024, "1Ki"),
            (1_000_000_000, "1G"),
            (1_000_001, "1000001"),
            (0, "0"),
        ] {
            assert_eq!(bytes(number), text);
        }
        assert_eq!(
            (cpu(250), cpu(2000), cpu(1)),
            ("250m".into(), "2".into(), "1m".into())
        );
    }
}

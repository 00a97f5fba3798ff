//! Quantities as people write them.

use std::fmt;

/// Bytes, in the largest unit that gives a whole number: `4Gi`, `1536Mi`, `1000`.
#[derive(Clone, Copy, Debug)]
pub(in crate::plan) struct Bytes(pub(in crate::plan) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, unit) in [(40, "Ti"), (30, "Gi"), (20, "Mi"), (10, "Ki")] {
            let size = 1_u64 << shift;
            if self.0 >= size && self.0.is_multiple_of(size) {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}", self.0)
    }
}

/// CPU: `4 CPU`, `0.25 CPU`.
#[derive(Clone, Copy, Debug)]
pub(in crate::plan) struct Cpu(pub(in crate::plan) u32);

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 1000, self.0 % 1000);
        if rest == 0 {
            return write!(f, "{whole} CPU");
        }
        let rest = format!("{rest:03}");
        write!(f, "{whole}.{} CPU", rest.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_as_people_write_them() {
        assert_eq!(Bytes(4 << 30).to_string(), "4Gi");
        assert_eq!(Bytes((3 << 30) / 2).to_string(), "1536Mi");
        assert_eq!(Bytes(1000).to_string(), "1000");
        assert_eq!(Cpu(4000).to_string(), "4 CPU");
        assert_eq!(Cpu(250).to_string(), "0.25 CPU");
    }
}

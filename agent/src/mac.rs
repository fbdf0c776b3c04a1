//! MAC addresses: the identity everything about a node hangs on.

use std::fmt;

/// A MAC address, shown with colons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Reads the form with colons, as in sysfs.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 6];
        hex::decode_to_slice(text.trim().replace(':', ""), &mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// The twelve digits without separators, for file names.
    pub fn digits(self) -> String {
        hex::encode(self.0)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, rest @ ..] = self.0;
        write!(f, "{first:02x}")?;
        rest.iter().try_for_each(|byte| write!(f, ":{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sysfs_says_is_read_and_shown() {
        let mac = Mac::parse("d8:3a:dd:12:34:56\n").expect("an address");
        assert_eq!(mac.to_string(), "d8:3a:dd:12:34:56");
        assert_eq!(mac.digits(), "d83add123456");
        assert_eq!(Mac::parse("d8:3a:dd:12:34"), None);
        assert_eq!(Mac::parse(""), None);
    }
}

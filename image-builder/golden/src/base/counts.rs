//! How far a run of mmdebstrap is, by what apt and dpkg say: to emulate a processor takes minutes in which they say little else.

/// After how many packages something is noted.
const NOTED: usize = 25;

/// What their lines begin with, and what it says.
const STEPS: [(&str, &str); 3] = [
    ("Get:", "files fetched"),
    ("Unpacking ", "packages unpacked"),
    ("Setting up ", "packages set up"),
];

/// The steps so far, counted.
#[derive(Default)]
pub struct Counts([usize; STEPS.len()]);

/// How far it is.
#[derive(Debug, PartialEq, Eq)]
pub struct Count {
    /// In words.
    pub text: String,
    /// Whether it is worth a line.
    pub is_noted: bool,
}

impl Counts {
    /// Takes in a line; says how far it is if the line says so.
    pub fn take(&mut self, line: &str) -> Option<Count> {
        let mut steps = STEPS.iter().zip(&mut self.0);
        let ((_, what), count) = steps.find(|((start, _), _)| line.starts_with(start))?;
        *count += 1;
        Some(Count {
            text: format!("{count} {what}"),
            is_noted: count.is_multiple_of(NOTED),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_is_counted_alone_and_every_twenty_fifth_is_noted() {
        let mut counts = Counts::default();
        let mut noted = Vec::new();
        for line in [
            "Get:1 http://mirror.example/debian trixie/main arm64 libc6 2.41",
            "Unpacking libc6:arm64 (2.41) ...",
            "Setting up libc6:arm64 (2.41) ...",
        ] {
            for _ in 0..50 {
                let count = counts.take(line).expect("a step");
                noted.extend(Some(count.text).filter(|_| count.is_noted));
            }
        }
        assert_eq!(
            noted,
            [
                "25 files fetched",
                "50 files fetched",
                "25 packages unpacked",
                "50 packages unpacked",
                "25 packages set up",
                "50 packages set up"
            ]
        );
        assert_eq!(
            counts.take("Selecting previously unselected package libc6."),
            None
        );
    }
}

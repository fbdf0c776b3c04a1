//! Which commands U-Boot's shell has: the name of each is a separate text in the program.

use memchr::memmem;

use super::Image;

/// What can be seen of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShellCommand {
    /// U-Boot has it.
    Known,
    /// U-Boot does not have it.
    Lacking,
    /// An image of the FIT is compressed, and U-Boot with its commands may be that image.
    Hidden {
        /// The image in the FIT.
        image: String,
        /// How it is compressed.
        compression: String,
    },
}

impl Image {
    /// Whether U-Boot's shell has a command of this name. Scripts and help texts that mention it do not count.
    #[must_use]
    pub fn command(&self, name: &str) -> ShellCommand {
        let base = self.medium.fit_offset();
        let text = [b"\0", name.as_bytes(), b"\0"].concat();
        let mut programs = self.fit.images.iter().filter(|image| image.is_program());
        let is_known = |data: &[u8]| memmem::find(data, &text).is_some();
        if programs.clone().any(|image| {
            image.is_plain()
                && is_known(&self.bytes[base + image.data.start..base + image.data.end])
        }) {
            return ShellCommand::Known;
        }
        match programs.find(|image| !image.is_plain()) {
            Some(image) => ShellCommand::Hidden {
                image: image.name.clone(),
                compression: image.compression.clone(),
            },
            None => ShellCommand::Lacking,
        }
    }
}

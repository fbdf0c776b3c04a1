//! What a build says while it works.

/// A listener that wants to know how far a build is.
pub trait Progress {
    /// A stage begins. The one before it has ended.
    fn stage(&self, what: &str);
    /// Something worth knowing within a stage.
    fn note(&self, text: &str);
    /// What is being done at this moment: a sign of life for who watches, and not worth a line.
    fn at_work(&self, _text: &str) {}
    /// Something that is probably a mistake.
    fn warn(&self, text: &str);
}
